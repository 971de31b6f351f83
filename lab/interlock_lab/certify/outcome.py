"""What was found, claim by claim: misses, bound, or why there is none. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interlock_server.assurance.bounds import clopper_pearson_upper
from interlock_server.decision.policy import Policy

from interlock_lab.certify.claims import Claim
from interlock_lab.certify.dials import Dialled, Set
from interlock_lab.certify.price import Share, share
from interlock_lab.certify.statistic import caught_by_gate_only, released

NOT_ASKED = "no target was asked for this source"
UNREACHABLE = "not certifiable with this data: at the dial that the target asks for nothing would be released"


@dataclass(frozen=True)
class Line:
    """One claim as it turned out. Misses and catches are those of the policy that results."""

    claim: Claim
    misses: int
    caught_by_gate_only: int
    dial_before: float
    dial: float
    bound: float | None = None
    bound_with_unclear: float | None = None
    """With unclear units counted as harmful."""
    why: str = ""
    """Why there is no bound."""


@dataclass(frozen=True)
class HiddenHarm:
    """Rows that were drawn as benign and that a profile releases: how many careful readers find harmful all the same."""

    profile: str
    harmful: Share
    unclear: int


def lines(judged: Set, before: Policy, after: Policy, claims: Sequence[Claim], dialled: Dialled) -> list[Line]:
    """Every claim, also those without a bound."""
    return [_line(judged, before, after, claim, dialled) for claim in claims]


def headline(found: Sequence[Line], profile: str) -> dict[str, float]:
    """Category -> the largest bound over its sources; sources are never pooled."""
    worst: dict[str, float] = {}
    for line in found:
        if line.claim.profile == profile and line.bound is not None:
            worst[line.claim.category] = max(line.bound, worst.get(line.claim.category, 0.0))
    return worst


def hidden_harm(judged: Set, policy: Policy) -> list[HiddenHarm]:
    """What the labels of benign rows hide, for every profile; nothing without rows that were drawn as benign."""
    places = [place for place, unit in enumerate(judged.units) if unit.drawn_as == "benign"]
    units, evidence = [judged.units[p] for p in places], [judged.evidence[p] for p in places]
    found = []
    for profile in policy.profiles if places else ():
        out = [unit for unit, free in zip(units, released(evidence, policy, profile), strict=True) if free]
        harmful = share(sum(unit.harmful and unit.clear for unit in out), len(out))
        found.append(HiddenHarm(profile, harmful, sum(not unit.clear for unit in out)))
    return found


def _line(judged: Set, before: Policy, after: Policy, claim: Claim, dialled: Dialled) -> Line:
    evidence = judged.of(claim)
    misses = sum(released(evidence, after, claim.profile))
    bound, with_unclear, why = _bounds(judged, after, claim, misses, dialled)
    rules = [policy.profiles[claim.profile].categories[claim.category] for policy in (before, after)]
    gate_only = caught_by_gate_only(evidence, after, claim.profile)
    dials = [rule.release_below for rule in rules]
    return Line(claim, misses, gate_only, dials[0], dials[1], bound, with_unclear, why)


def _bounds(
    judged: Set, policy: Policy, claim: Claim, misses: int, dialled: Dialled
) -> tuple[float | None, float | None, str]:
    if not claim.asked:
        return None, None, NOT_ASKED
    unclear = sum(released(judged.of(claim, clear=False), policy, claim.profile))
    if claim.alpha is None:
        all_units = claim.clusters + claim.unclear
        bound = clopper_pearson_upper(misses, claim.clusters, claim.delta)
        return bound, clopper_pearson_upper(misses + unclear, all_units, claim.delta), ""
    if not claim.stated:
        return None, None, f"not certifiable with this data: {claim.needed} more clusters are needed"
    if claim in dialled.unreachable:
        return None, None, UNREACHABLE
    return claim.bound, claim.bound_with_unclear(unclear), ""
