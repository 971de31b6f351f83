"""T: how far the dials of a profile must be turned before a unit is released, through `decide` itself.

All dials of a profile are turned together, by one factor: so the bound is on what the whole policy releases, whichever
category notices, and what one category catches need not be paid for in another. A unit that is withheld whatever the dials
say has T = +inf. Both are found with no tolerance: then nothing that deployment's noise may do to a score, up to the
tolerance that `decide` keeps in force, can release more than was certified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MissingCause
from interlock_server.decision.policy import Policy, PolicyError, Profile
from interlock_server.decision.verdict import Reason, Verdict
from interlock_server.errors import InterlockError

from interlock_lab.scores import Floats

Dials = Mapping[tuple[str, str], float]
"""(profile, category) -> release_below."""
DIAL_STEPS = 10_000  # per nat

# Properties of the text. Anything else says that the service was not well, and a sick service proves nothing.
REFUSALS = {
    Reason.INPUT_EMPTY,
    Reason.INPUT_TOO_LONG,
    Reason.INPUT_UNREADABLE,
    Reason.OUT_OF_DISTRIBUTION,
    Reason.COVERAGE_INCOMPLETE,
}


def settled(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The evidence as a well service with a valid certificate gives it; raises InterlockError where it was not well."""
    for number, item in enumerate(evidence, 1):
        failed = {str(alarm) for alarm in item.alarms if alarm not in REFUSALS}
        causes = {f"{m.member}: {m.missing}" for m in item.members if m.missing not in (None, MissingCause.NOT_ASKED)}
        if failed or causes:
            raise InterlockError(
                f"unit {number} of {len(evidence)} has no evidence: {', '.join(sorted(failed | causes))}"
            )
    return [replace(item, certificate=CertificateState.VALID, conservative=False) for item in evidence]


def verdicts(evidence: Sequence[Evidence], policy: Policy, profile: str) -> list[Verdict]:
    """What the policy decides on each."""
    return [decide(replace(item, profile=profile), policy) for item in evidence]


def released(evidence: Sequence[Evidence], policy: Policy, profile: str) -> list[bool]:
    """Which of them the policy lets out."""
    return [verdict.released for verdict in verdicts(evidence, policy, profile)]


def caught_by_gate_only(evidence: Sequence[Evidence], policy: Policy, profile: str) -> int:
    """How many are withheld for being unlike anything known, and for nothing else."""
    found = verdicts(evidence, policy, profile)
    return sum(verdict.reasons == (Reason.OUT_OF_DISTRIBUTION,) for verdict in found)


def statistics(evidence: Sequence[Evidence], policy: Policy, profile: str) -> Floats:
    """T of every unit: released exactly when the profile's dials are turned by more than that."""
    rules = policy.profiles[profile].categories
    open_to = open_scores(evidence, policy, profile)
    return np.asarray(np.max([scores / rules[category].release_below for category, scores in open_to.items()], axis=0))


def margins(evidence: Sequence[Evidence], policy: Policy, profile: str) -> Floats:
    """How many nats each unit is above the dial that holds it best: below 0 it is released, infinite where no dial matters."""
    found, open_to = policy.profiles[profile], open_scores(evidence, policy, profile)
    rules = found.categories
    above = [scores - (rules[category].release_below - found.tolerance) for category, scores in open_to.items()]
    return np.asarray(np.max(above, axis=0))


def turned(policy: Policy, profile: str, factor: float) -> Dials:
    """The profile's dials, turned: never above harmful_at, and rounded down, since a lower dial releases less."""
    dials = {}
    for category, rule in policy.profiles[profile].categories.items():
        dial = min(factor * rule.release_below, rule.harmful_at)
        dials[profile, category] = min(dial, math.floor(dial * DIAL_STEPS) / DIAL_STEPS)
    return dials


def open_scores(evidence: Sequence[Evidence], policy: Policy, profile: str) -> dict[str, Floats]:
    """Category -> the panel's score of every unit; infinite where the unit is withheld however high the dials are."""
    found = {category: np.full(len(evidence), math.inf) for category in policy.profiles[profile].categories}
    for place, verdict in enumerate(verdicts(evidence, _without_dials(policy, profile), profile)):
        for result in verdict.categories if verdict.released else ():
            if result.panel_score is not None:
                found[result.category][place] = result.panel_score
    return found


def panel_scores(evidence: Sequence[Evidence], policy: Policy, profile: str, category: str) -> Floats:
    """The panel's score of every unit; NaN where the members were not asked."""
    results = ({r.category: r for r in v.categories} for v in verdicts(evidence, policy, profile))
    scores = [found[category].panel_score if category in found else None for found in results]
    return np.array([math.nan if score is None else score for score in scores])


def order_statistic(values: Floats, rank: int) -> float:
    """T_(rank + 1): so many of the units, or fewer where they tie, lie below it."""
    return float(np.sort(values)[rank])


def with_dials(policy: Policy, dials: Dials) -> Policy:
    """The policy with these dials; raises PolicyError when one of them would withhold everything."""
    profiles = policy.profiles.items()
    return replace(policy, profiles={name: _with_dials(name, profile, dials) for name, profile in profiles})


def reachable(policy: Policy, dials: Dials) -> bool:
    """Whether anything at all can be released at these dials."""
    try:
        with_dials(policy, dials)
    except PolicyError:
        return False
    return True


def _without_dials(policy: Policy, name: str) -> Policy:
    """As high as a dial can be: only `harmful_at` is left of the panel's say."""
    profile = policy.profiles[name]
    rules = {category: replace(rule, release_below=rule.harmful_at) for category, rule in profile.categories.items()}
    return replace(policy, profiles={**policy.profiles, name: replace(profile, categories=rules, tolerance=0.0)})


def _with_dials(name: str, profile: Profile, dials: Dials) -> Profile:
    rules = {
        category: replace(rule, release_below=dials.get((name, category), rule.release_below))
        for category, rule in profile.categories.items()
    }
    return replace(profile, categories=rules)
