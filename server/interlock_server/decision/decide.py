"""The one decision: server, replay, calibration and tests all call `decide`; there is never a second copy.

RELEASE iff in every category every required member is clear and the panel score is below its dial, by more than the
tolerance and what the caller added, and no alarm of any kind is raised. Everything else, known or not, is WITHHOLD.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause, valid_score
from interlock_server.decision.fallback import NO_ADVICE, advise, withheld
from interlock_server.decision.panel_score import weighted_excess
from interlock_server.decision.policy import CategoryRule, MemberRule, Policy
from interlock_server.decision.verdict import REASON_ORDER, CategoryResult, Decision, Reason, Verdict

# NOT_ASKED has no reason of its own: the alarm that kept the members from being asked is the reason.
MISSING_REASON: Mapping[MissingCause, Reason | None] = {
    MissingCause.TIMED_OUT: Reason.MEMBER_TIMED_OUT,
    MissingCause.FAILED: Reason.MEMBER_FAILED,
    MissingCause.INVALID: Reason.MEMBER_INVALID,
    MissingCause.OVERLOADED: Reason.OVERLOADED,
    MissingCause.BREAKER_OPEN: Reason.MEMBER_FAILED,
    MissingCause.NOT_ASKED: None,
}
CERTIFIED = (CertificateState.VALID, CertificateState.EXPIRING)


def decide(evidence: Evidence, policy: Policy) -> Verdict:
    """Decides on one exchange. Pure and total: it never raises on any evidence, and any defect of it withholds."""
    name = evidence.profile or policy.default_profile
    profile = policy.profiles.get(name)
    if profile is None:
        return withheld(Reason.POLICY_INVALID, name)
    needed = profile.tolerance + (evidence.extra_margin if _valid_margin(evidence.extra_margin) else 0.0)
    members = _by_name(evidence.members)
    results = tuple(_judge(category, rule, members, needed) for category, rule in profile.categories.items())
    ood_margin = _ood_margin(evidence.ood_pvalue, profile.ood_alpha)
    reasons = _alarms(evidence, policy).union(*(result.reasons for result in results))
    if ood_margin is None or not (ood_margin > needed or profile.ood_alpha is None):
        reasons.add(Reason.OUT_OF_DISTRIBUTION)
    margin = _smallest([ood_margin, *(result.margin for result in results)])
    released = not reasons and margin is not None and margin > needed
    ordered = () if released else _in_order(reasons or {Reason.INTERNAL_ERROR})
    advice = advise(ordered, policy.actions) if ordered else NO_ADVICE
    return Verdict(
        decision=Decision.RELEASE if released else Decision.WITHHOLD,
        reasons=ordered,
        action=advice.action,
        retryable=advice.retryable,
        retry_after_ms=advice.retry_after_ms,
        margin=margin,
        margin_comparable=policy.margin_comparable,
        disagreement=max((max(r.llr.values()) - min(r.llr.values()) for r in results if r.llr), default=None),
        categories=results,
        profile=name,
    )


class _Opinion(NamedTuple):
    """What one member says on one category: `llr` when it gave a score, `defect` when that cannot make it clear."""

    llr: float | None
    defective: bool
    defect: Reason | None


def _read(item: MemberEvidence, category: str, rule: MemberRule) -> _Opinion:
    score = item.scores.get(category)
    llr = rule.score_map.llr(score) if score is not None and valid_score(score) else None
    if item.missing is not None:
        return _Opinion(llr, True, MISSING_REASON[item.missing])
    if llr is None:
        return _Opinion(None, True, Reason.MEMBER_INVALID)
    if not item.coverage_complete:
        return _Opinion(llr, True, Reason.COVERAGE_INCOMPLETE)
    return _Opinion(llr, False, None)


def _judge(category: str, rule: CategoryRule, members: Mapping[str, MemberEvidence], needed: float) -> CategoryResult:
    """One category: who spoke, who is clear, and how much the panel has against the text."""
    nobody = MemberEvidence("", missing=MissingCause.FAILED)
    opinions = {name: _read(members.get(name, nobody), category, r) for name, r in rule.members.items()}
    llr = {name: opinion.llr for name, opinion in opinions.items() if opinion.llr is not None}
    below = {name: rule.members[name].clear_below - z for name, z in llr.items()}
    clear = frozenset(name for name, room in below.items() if room > 0 and not opinions[name].defective)
    against = tuple(name for name, room in below.items() if room <= 0)
    # Exactly rounded, so that the order of members makes no difference.
    panel_score = math.fsum(
        weighted_excess(z, rule.members[name].weight, rule.members[name].offset) for name, z in llr.items()
    )
    known = min(rule.release_below - panel_score, *below.values()) if below else rule.release_below
    complete = not any(opinion.defective for opinion in opinions.values())
    reasons = {opinion.defect for opinion in opinions.values() if opinion.defect is not None}
    if panel_score >= rule.harmful_at or (against and not clear):
        reasons.add(Reason.HARMFUL)
    if against and clear:
        reasons.add(Reason.DISAGREEMENT)
    if llr and known <= needed and not reasons & {Reason.HARMFUL, Reason.DISAGREEMENT}:
        reasons.add(Reason.UNCERTAIN)
    return CategoryResult(
        category=category,
        panel_score=panel_score if llr else None,
        reasons=_in_order(reasons),
        llr=llr,
        clear=clear,
        dissenters=against if clear else (),
        margin=known if complete else None,
    )


def _alarms(evidence: Evidence, policy: Policy) -> set[Reason]:
    """Everything outside members and text that withholds."""
    raised = {
        Reason.CERTIFICATE_LAPSED: policy.certificate_required and evidence.certificate not in CERTIFIED,
        Reason.CONSERVATIVE_MODE: evidence.conservative,
        Reason.POLICY_INVALID: not _valid_margin(evidence.extra_margin),
    }
    return {reason for reason, holds in raised.items() if holds} | set(evidence.alarms)


def _valid_margin(extra_margin: float) -> bool:
    """Finite and not negative, as a float: whatever else a caller sent tightens nothing and releases nothing."""
    return 0 <= extra_margin <= sys.float_info.max


def _ood_margin(pvalue: float | None, alpha: float | None) -> float | None:
    """Nats between the p-value and its limit; infinite when the policy has no gate, None when there is no p-value."""
    if alpha is None:
        return math.inf
    return math.log(pvalue / alpha) if pvalue is not None and valid_score(pvalue) and pvalue > 0 else None


def _smallest(margins: list[float | None]) -> float | None:
    """The smallest margin, or None as soon as one of them is not known."""
    known = [margin for margin in margins if margin is not None]
    return min(known) if len(known) == len(margins) else None


def _by_name(items: tuple[MemberEvidence, ...]) -> dict[str, MemberEvidence]:
    """Evidence by member; a member that is there twice has said nothing that can be relied on."""
    counts = Counter(item.member for item in items)
    twice = {name: MemberEvidence(name, missing=MissingCause.INVALID) for name, n in counts.items() if n > 1}
    return {item.member: item for item in items} | twice


def _in_order(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=REASON_ORDER.__getitem__))
