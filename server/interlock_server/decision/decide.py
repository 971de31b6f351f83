"""The one decision: server, replay, calibration and tests all call `decide`; there is never a second copy.

RELEASE iff in every category every required member is clear and the panel score is below its dial, by more than the
tolerance and what the caller added, and no alarm of any kind is raised. Everything else, known or not, is WITHHOLD.
"""

import math
import sys
from collections import Counter
from collections.abc import Mapping

from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause, valid_score
from interlock_server.decision.fallback import NO_ADVICE, advise, withheld
from interlock_server.decision.panel_score import weighted_excess
from interlock_server.decision.policy import CategoryRule, Policy
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
    results = tuple([_judge(category, rule, members, needed) for category, rule in profile.categories.items()])
    ood_margin = _ood_margin(evidence.ood_pvalue, profile.ood_alpha)
    reasons = _alarms(evidence, policy).union(*[result.reasons for result in results])
    if ood_margin is None:
        # Where members are missing, or were not asked, the text is not strange: nobody knows, and that is the reason.
        strange = not (reasons and (evidence.alarms or any(item.missing for item in evidence.members)))
    else:
        strange = not (ood_margin > needed or profile.ood_alpha is None)
    if strange:
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
        disagreement=max([max(r.llr.values()) - min(r.llr.values()) for r in results if r.llr], default=None),
        categories=results,
        profile=name,
    )


def _judge(category: str, rule: CategoryRule, members: Mapping[str, MemberEvidence], needed: float) -> CategoryResult:
    """One category: who spoke, who is clear, and how much the panel has against the text."""
    llr: dict[str, float] = {}
    clear: list[str] = []
    against: list[str] = []
    reasons: set[Reason] = set()
    excesses: list[float] = []
    known, complete = rule.release_below, True
    for name, member_rule in rule.members.items():
        item = members.get(name, _NOBODY)
        score = item.scores.get(category)
        if score is not None and valid_score(score):
            llr[name] = z = member_rule.score_map.llr(score)
            excesses.append(weighted_excess(z, member_rule.weight, member_rule.offset))
            room = member_rule.clear_below - z
            if room < known:
                known = room
            if room <= 0:
                against.append(name)
        if item.missing is None and item.coverage_complete and name in llr:
            if room > 0:
                clear.append(name)
        else:
            complete = False
            reasons |= _defect(item, name in llr)
    # Exactly rounded, so that the order of members makes no difference.
    panel_score = math.fsum(excesses)
    known = min(known, rule.release_below - panel_score)
    if panel_score >= rule.harmful_at or (against and not clear):
        reasons.add(Reason.HARMFUL)
    if against and clear:
        reasons.add(Reason.DISAGREEMENT)
    if llr and known <= needed and not reasons & _DECIDED:
        reasons.add(Reason.UNCERTAIN)
    return CategoryResult(
        category=category,
        panel_score=panel_score if llr else None,
        reasons=_in_order(reasons),
        llr=llr,
        clear=frozenset(clear),
        dissenters=tuple(against) if clear else (),
        margin=known if complete else None,
    )


_NOBODY = MemberEvidence("", missing=MissingCause.FAILED)
_DECIDED = {Reason.HARMFUL, Reason.DISAGREEMENT}


def _defect(item: MemberEvidence, scored: bool) -> set[Reason]:
    """Why a member cannot be clear, whatever its scores."""
    if item.missing is not None:
        reason = MISSING_REASON[item.missing]
    else:
        reason = Reason.COVERAGE_INCOMPLETE if scored else Reason.MEMBER_INVALID
    return set() if reason is None else {reason}


def _alarms(evidence: Evidence, policy: Policy) -> set[Reason]:
    """Everything outside members and text that withholds."""
    raised = (
        (Reason.CERTIFICATE_LAPSED, policy.certificate_required and evidence.certificate not in CERTIFIED),
        (Reason.CONSERVATIVE_MODE, evidence.conservative),
        (Reason.POLICY_INVALID, not _valid_margin(evidence.extra_margin)),
    )
    return {reason for reason, holds in raised if holds}.union(evidence.alarms)


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
    by_name = {item.member: item for item in items}
    if len(by_name) < len(items):
        counts = Counter(item.member for item in items)
        by_name |= {name: MemberEvidence(name, missing=MissingCause.INVALID) for name, n in counts.items() if n > 1}
    return by_name


def _in_order(reasons: set[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=REASON_ORDER.__getitem__)) if reasons else ()
