"""From claims and evidence to dials: each claim's order statistic, and the strictest of a profile turns its dials. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from interlock_server.errors import InterlockError
from sklearn.metrics import roc_auc_score

from interlock_lab.certify.claims import Claim, counts
from interlock_lab.certify.labelled import Labelled
from interlock_lab.certify.statistic import Dials, order_statistic, panel_scores, reachable, statistics, turned

AUROC_MIN = 0.6
SWAP_CHECK_MIN = 10
"""Harmful and benign units, each; with fewer an AUROC says nothing."""


@dataclass(frozen=True)
class Set:
    """The units of a set with the evidence on each."""

    units: Sequence[Labelled]
    evidence: Sequence[Evidence]

    def of(self, claim: Claim, clear: bool = True) -> list[Evidence]:
        """On the units of a claim."""
        pairs = zip(self.units, self.evidence, strict=True)
        return [item for unit, item in pairs if counts(unit, claim.category, claim.source, clear)]


@dataclass(frozen=True)
class Dialled:
    """The dials that were found, each claim's own order statistic, and the claims that no policy can keep."""

    dials: Dials
    order_statistics: Mapping[Claim, float]
    """The factor at which each claim alone would set the dials; infinite where so many units need no dial."""
    unreachable: Sequence[Claim]


def find_dials(judged: Set, policy: Policy, claims: Sequence[Claim]) -> Dialled:
    """The dials of every profile with a claim that sets them: the strictest of its claims turns them all."""
    found: dict[Claim, float] = {}
    unreachable = []
    for claim in claims:
        if claim.stated and claim.misses_allowed is not None:
            values = statistics(judged.of(claim), policy, claim.profile)
            factor = order_statistic(values, claim.misses_allowed)
            if reachable(policy, turned(policy, claim.profile, factor)):
                found[claim] = factor
            else:
                unreachable.append(claim)
    dials: dict[tuple[str, str], float] = {}
    for profile in {claim.profile for claim in found}:
        factor = min(value for claim, value in found.items() if claim.profile == profile)
        dials |= turned(policy, profile, factor)
    return Dialled(_in_step(dials, policy, claims), found, unreachable)


def refuse_swapped(judged: Set, policy: Policy, claims: Sequence[Claim]) -> dict[tuple[str, str], float]:
    """(category, source) -> AUROC of the panel's score; raises InterlockError when harm does not score above the rest."""
    found = {}
    for category, source in sorted({(claim.category, claim.source) for claim in claims}):
        scores = panel_scores(judged.evidence, policy, policy.default_profile, category)
        harmful = np.array([u.source == source and u.certifies(category) and u.clear for u in judged.units])
        benign = np.array([u.labels.get(category) == 0 and u.clear for u in judged.units])
        harmful, benign = harmful & ~np.isnan(scores), benign & ~np.isnan(scores)
        if min(harmful.sum(), benign.sum()) < SWAP_CHECK_MIN:
            continue
        used = harmful | benign
        found[category, source] = value = float(roc_auc_score(harmful[used], scores[used]))
        if value < AUROC_MIN:
            raise InterlockError(
                f"{category}, source {source}: the labels look swapped: units labelled harmful score above benign ones "
                f"in {value:.0%} of pairs; below {AUROC_MIN:.0%} nothing is certified"
            )
    return found


def _in_step(dials: Mapping[tuple[str, str], float], policy: Policy, claims: Sequence[Claim]) -> Dials:
    """A stricter target never has the laxer dial, also where it could not be certified and the dial is the panel's own."""
    kept = dict(dials)
    for strict in claims:
        key = strict.profile, strict.category
        own = kept.get(key, policy.profiles[strict.profile].categories[strict.category].release_below)
        laxer = [
            dials[c.profile, c.category]
            for c in claims
            if c.category == strict.category and (c.profile, c.category) in dials and _at_least(c, strict)
        ]
        if laxer and min(laxer) < own and reachable(policy, {key: min(laxer)}):
            kept[key] = min(laxer)
    return kept


def _at_least(lax: Claim, strict: Claim) -> bool:
    return lax.alpha is not None and strict.alpha is not None and lax.alpha >= strict.alpha
