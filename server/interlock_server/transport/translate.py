"""Between the contract and the filter's own types, by tables. Enums have the same names on both sides, which a test holds."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.access.callers import NOBODY, Caller, DetailName
from interlock_server.access.quotas import Refusal
from interlock_server.assurance.strictness import at_least_as_strict
from interlock_server.audit.record import Digests
from interlock_server.bundle.load import Bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.bundle.stories import ClaimState, MemberStory
from interlock_server.certification import Certification
from interlock_server.decision.evidence import CertificateState, MissingCause
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Action, CategoryResult, Reason
from interlock_server.inference.scoring import Member, MemberReport
from interlock_server.screening import Request, Screening
from interlock_server.text.exchange import joined_turns

TURNS_MAX = 1_000  # of one exchange: the event loop joins them
SPEAKERS = {pb.SPEAKER_SYSTEM: "system", pb.SPEAKER_USER: "user", pb.SPEAKER_ASSISTANT: "assistant"}
DETAILS: dict[DetailName, int] = {"decision": 1, "reasons": 2, "full": 3}
REASONS = {reason: pb.Reason.Value(f"REASON_{reason}") for reason in Reason}
ACTIONS = {
    action: pb.ACTION_UNSPECIFIED if action is Action.NONE else pb.Action.Value(f"ACTION_{action}") for action in Action
}
CLAIM_STATES = {state: pb.TrainingClaimState.Value(f"TRAINING_CLAIM_STATE_{state}") for state in ClaimState}
CERTIFICATE_STATES = {state: pb.CertificateState.Value(f"CERTIFICATE_STATE_{state}") for state in CertificateState}
MISSING_CAUSES = {cause: pb.MissingCause.Value(f"MISSING_CAUSE_{cause}") for cause in MissingCause}


Asked = pb.ScreenRequest | pb.ScreenBatchRequest | pb.SelectRequest | pb.ScreenStreamStart


@dataclass(frozen=True)
class Call:
    """What all exchanges of one call share."""

    rpc: str
    deadline_s: float
    caller: str
    """The name of `who`, or an address where nobody has a name."""
    request_id: str = ""
    who: Caller = NOBODY
    languages: str = ""
    refusal: Refusal | None = None
    """Why nothing of it is to be judged: a stream too many."""


class InvalidRequest(ValueError):
    """The request cannot be understood; the message names the field and the limit, and holds no text."""


def check_options(asked: Asked, policy: Policy, who: Caller) -> None:
    """Raises InvalidRequest when what a caller asks beside the exchange cannot be done."""
    if not who.may_name(asked.profile):
        raise InvalidRequest(f"profile: this caller has {', '.join(sorted(who.profiles))}")
    if asked.profile and asked.profile not in policy.profiles:
        raise InvalidRequest(f"profile: the policy has {', '.join(sorted(policy.profiles))}")
    if asked.profile and asked.profile not in who.profiles and _loosens(policy, asked.profile, who.default_profile):
        raise InvalidRequest(
            "profile: it may release what the caller's own withholds, and was not granted to the caller"
        )
    if not (math.isfinite(asked.extra_margin) and asked.extra_margin >= 0):
        raise InvalidRequest("extra_margin: must be finite and 0 or more")


def _loosens(policy: Policy, profile: str, usual: str) -> bool:
    """Whether it may release what the usual profile withholds: a caller may tighten what applies to it, never loosen it."""
    own = policy.profiles.get(usual or policy.default_profile)
    return own is None or not at_least_as_strict(policy.profiles[profile], own)


def is_ambiguous(exchange: pb.Exchange) -> bool:
    """Whether an exchange has two contexts: a prompt and turns."""
    return bool(exchange.prompt and exchange.turns)


def to_request(
    exchange: pb.Exchange,
    asked: Asked,
    call: Call,
    refused: Reason | None = None,
) -> Request:
    """What the filter is asked, or to refuse. An ambiguous exchange is refused there, and so is one of too many turns."""
    if is_ambiguous(exchange):
        refused = Reason.INPUT_UNREADABLE
    elif len(exchange.turns) > TURNS_MAX:
        refused = Reason.INPUT_TOO_LONG
    return Request(
        prompt=exchange.prompt or _joined(exchange.turns[:TURNS_MAX]),
        completion=exchange.completion,
        profile=call.who.profile(asked.profile),
        extra_margin=asked.extra_margin,
        deadline_s=call.deadline_s,
        observed_only=asked.enforcement == pb.ENFORCEMENT_OBSERVE,
        # What we do not know is interactive: it must not wait for ever.
        bulk=isinstance(asked, pb.ScreenRequest | pb.ScreenBatchRequest) and asked.priority == pb.PRIORITY_BULK,
        caller=call.caller,
        request_id=call.request_id,
        refused=refused,
    )


def to_digests(digests: Digests) -> pb.Digests:
    """The exact versions behind a verdict."""
    return pb.Digests(bundle=digests.bundle, policy=digests.policy, build=digests.build)


def to_verdict(screening: Screening, asked: int, granted: DetailName, shadow: Collection[str]) -> pb.Verdict:
    """The verdict with as much detail as was asked for and is granted."""
    verdict = screening.verdict
    detail = min(asked or pb.DETAIL_REASONS, DETAILS[granted])
    message = pb.Verdict(
        decision=pb.DECISION_RELEASE if verdict.released else pb.DECISION_WITHHOLD,
        verdict_id=screening.verdict_id,
        completion_sha256=screening.completion_sha256,
        action=ACTIONS[verdict.action],
        retryable=verdict.retryable,
        retry_after=_duration(verdict.retry_after_ms / 1000),
        enforcement=pb.ENFORCEMENT_OBSERVE if screening.observed_only else pb.ENFORCEMENT_ENFORCE,
        profile=verdict.profile,
        released_bytes=screening.released_bytes,
    )
    if detail >= pb.DETAIL_REASONS:
        message.reasons.extend(_reasons(verdict.reasons))
        message.timing.CopyFrom(_timing(screening))
        message.digests.CopyFrom(to_digests(screening.digests))
    if detail >= pb.DETAIL_FULL:
        message.margin_comparable = verdict.margin_comparable
        if verdict.margin is not None:
            message.margin = verdict.margin
        if verdict.disagreement is not None:
            message.disagreement = verdict.disagreement
        message.categories.extend(map(_category, verdict.categories))
    for report in screening.reports:
        if detail >= pb.DETAIL_FULL or (detail >= pb.DETAIL_REASONS and report.evidence.missing):
            message.members.append(_member(report, verdict.categories, report.evidence.member in shadow, detail))
    return message


def to_ensemble(bundle: Bundle, members: Iterable[Member], digests: pb.Digests) -> pb.GetEnsembleResponse:
    """What is in force, but for the certificate, which does not stay what it is."""
    manifests = {manifest.name: manifest for manifest in bundle.manifest.members}
    policy = bundle.policy
    described = [
        pb.EnsembleMember(
            name=member.name,
            kind=manifests[member.name].kind,
            role=pb.MEMBER_ROLE_SHADOW if member.name in policy.shadow else pb.MEMBER_ROLE_REQUIRED,
            backend=manifests[member.name].backend,
            provider=member.backend.provider,
            categories=member.categories,
            digest=bundle.member_digest(manifests[member.name]),
            training_story=_story(bundle, manifests[member.name]),
            claims=_claims(bundle.stories.get(member.name)),
        )
        for member in members
    ]
    return pb.GetEnsembleResponse(
        digests=digests,
        categories=bundle.manifest.categories,
        members=described,
        profiles=sorted(policy.profiles),
        default_profile=policy.default_profile,
    )


def to_certificate(certification: Certification, profile: str = "") -> pb.Certificate:
    """What may be claimed of a profile now; of the default one if it has no name."""
    bounds = certification.bounds(profile).values()
    return pb.Certificate(
        state=CERTIFICATE_STATES[certification.state(profile)],
        bounds=[
            pb.CertificateBound(
                category=bound.category,
                miss_rate_upper_bound=bound.miss_rate_upper_bound,
                confidence=certification.confidence,
                clusters=bound.clusters,
            )
            for bound in bounds
        ],
        statement=certification.in_words(profile),
    )


def _story(bundle: Bundle, manifest: MemberManifest) -> str:
    story = bundle.stories.get(manifest.name)
    return story.story.text if story else manifest.training_story


def _claims(story: MemberStory | None) -> list[pb.TrainingClaim]:
    return [
        pb.TrainingClaim(
            id=item.claim.id, statement=item.claim.statement, state=CLAIM_STATES[item.state], detail=item.detail
        )
        for item in (story.claims if story else ())
    ]


def to_seconds(duration: Duration) -> float:
    """A duration as a number."""
    return duration.seconds + duration.nanos / 1e9


def _joined(turns: Iterable[pb.Turn]) -> bytes:
    """Turns as one prompt. Bytes that are not UTF-8 stay as they are, so that the filter can refuse them."""
    escaped = [(SPEAKERS.get(turn.speaker, ""), turn.text.decode("utf-8", "surrogateescape")) for turn in turns]
    return joined_turns(escaped).encode("utf-8", "surrogateescape")


def _category(result: CategoryResult) -> pb.CategoryResult:
    message = pb.CategoryResult(
        category=result.category, reasons=_reasons(result.reasons), dissenters=result.dissenters
    )
    if result.panel_score is not None:
        message.panel_score = result.panel_score
    return message


def _member(report: MemberReport, results: tuple[CategoryResult, ...], shadow: bool, detail: int) -> pb.MemberResult:
    name = report.evidence.member
    message = pb.MemberResult(
        member=name,
        role=pb.MEMBER_ROLE_SHADOW if shadow else pb.MEMBER_ROLE_REQUIRED,
        missing=MISSING_CAUSES[missing] if (missing := report.evidence.missing) else pb.MISSING_CAUSE_UNSPECIFIED,
    )
    if detail < pb.DETAIL_FULL:
        return message
    by_category = {result.category: result for result in results}
    for category, score in report.evidence.scores.items():
        result = by_category.get(category)
        message.scores.append(
            pb.CategoryScore(
                category=category,
                score=score,
                llr=result.llr.get(name, 0.0) if result else 0.0,
                clear=result is not None and name in result.clear,
                worst_window=_range(report.worst_windows[category]),
            )
        )
    message.coverage.extend(map(_range, report.coverage))
    message.prompt_coverage.extend(map(_range, report.prompt_coverage))
    message.windows_scored = report.windows_scored
    return message


def _timing(screening: Screening) -> pb.Timing:
    queue_s = read_s = infer_s = 0.0
    for report in screening.reports:
        queue_s = max(queue_s, report.queue_s)
        read_s += report.read_s
        infer_s += report.infer_s
    return pb.Timing(
        queue=_duration(queue_s),
        tokenize=_duration(read_s),
        infer=_duration(infer_s),
        total=_duration(screening.total_s),
    )


def _reasons(reasons: Iterable[Reason]) -> list[pb.Reason.ValueType]:
    return [REASONS[reason] for reason in reasons]


def _range(span: tuple[int, int]) -> pb.ByteRange:
    return pb.ByteRange(start=span[0], end=span[1])


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
