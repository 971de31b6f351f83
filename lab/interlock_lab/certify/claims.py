"""Which bounds will be stated, before any score exists: from counts and targets alone. PURE.

Every bound that is stated spends an equal part of delta, so that all of them hold together with confidence 1 - delta,
whichever profile, category and source somebody then picks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from interlock_server.assurance.bounds import bound_at_rank, clopper_pearson_upper, order_statistic_rank, units_needed
from interlock_server.errors import ConfigError

from interlock_lab.certify.labelled import Labelled
from interlock_lab.certify.targets import Targets


@dataclass(frozen=True, order=True)
class Claim:
    """A bound that is asked for one profile, category and source, and what the number of its units allows."""

    profile: str
    category: str
    source: str
    alpha: float | None
    """The target; None for a profile that is bounded as it is."""
    clusters: int
    unclear: int = 0
    delta: float = 0.0
    misses_allowed: int | None = None
    """How many units may lie below the dial; None when there are too few to certify anything, and where no dial is set."""
    asked: bool = True
    """False where other sources of the category have a target, and this one has none."""

    @property
    def stated(self) -> bool:
        """Whether a bound will be stated."""
        return self.asked and (self.alpha is None or self.misses_allowed is not None)

    @property
    def needed(self) -> int:
        """How many clusters are missing."""
        return 0 if self.alpha is None else units_needed(self.alpha, self.delta) - self.clusters

    @property
    def bound(self) -> float:
        """On the miss rate of a dial at this rank: at most the target."""
        if self.misses_allowed is None:
            raise ValueError("there is no rank")
        return bound_at_rank(self.misses_allowed, self.clusters, self.delta)

    def bound_with_unclear(self, released: int) -> float:
        """The same if every unclear unit were harmful, of which so many are released.

        No dial depends on an unclear unit, so these are a fixed policy's misses. A third of delta each goes to the clear units,
        to the unclear ones, and to their share among all.
        """
        if self.misses_allowed is None:
            raise ValueError("there is no rank")
        third = self.delta / 3
        clear = bound_at_rank(self.misses_allowed, self.clusters, third)
        if not self.unclear:
            return self.bound
        unclear = clopper_pearson_upper(released, self.unclear, third)
        share = clopper_pearson_upper(self.unclear, self.clusters + self.unclear, third)
        return clear + share * max(0.0, unclear - clear)


def counts(unit: Labelled, category: str, source: str, clear: bool = True) -> bool:
    """Whether a unit is one of a claim's; a unit that is harmful in several categories counts in each."""
    return unit.source == source and unit.certifies(category) and unit.clear is clear


def claims_for(units: Sequence[Labelled], targets: Targets, delta: float, allow_uncertified: bool) -> list[Claim]:
    """One claim for each target and source with harmful units.

    Raises ConfigError when some cannot be certified with so few units, or leaves these out where that is allowed.
    """
    claims = _claims(units, targets)
    asked = [claim for claim in claims if claim.asked]
    if not asked:
        raise ConfigError("no unit is harmful in a category that has a target")
    stated = _affordable(asked, delta)
    if len(stated) < len(asked) and not allow_uncertified:
        raise ConfigError("\n".join(too_few(_ranked(c, delta / len(asked))) for c in asked if c not in stated))
    return [_ranked(claim, delta / (len(stated) if claim in stated else len(stated) + 1)) for claim in claims]


def too_few(claim: Claim) -> str:
    """Says what is missing."""
    return (
        f"{claim.category}, source {claim.source}, profile {claim.profile}: {claim.clusters} clusters are too few to "
        f"certify a miss rate of {claim.alpha:g}; {claim.needed} more are needed"
    )


def _claims(units: Sequence[Labelled], targets: Targets) -> list[Claim]:
    sources = sorted({unit.source for unit in units})
    return [
        claim
        for profile, row in targets.items()
        for category in dict.fromkeys(name.partition("@")[0] for name in row)
        for source in sources
        if (claim := _claim(units, profile, category, source, row)).clusters
    ]


def _claim(
    units: Sequence[Labelled], profile: str, category: str, source: str, row: Mapping[str, float | None]
) -> Claim:
    clear, unclear = (sum(counts(unit, category, source, kind) for unit in units) for kind in (True, False))
    name = f"{category}@{source}" if f"{category}@{source}" in row else category
    return Claim(profile, category, source, row.get(name), clear, unclear, asked=name in row)


def _affordable(claims: Sequence[Claim], delta: float) -> list[Claim]:
    """As many claims as can be certified together, those first that need the least of delta."""
    ordered = sorted(claims, key=_least_delta)
    while ordered and _least_delta(ordered[-1]) > delta / len(ordered):
        ordered.pop()
    return ordered


def _least_delta(claim: Claim) -> float:
    """The delta that a dial without a miss needs: P(Bin(n, alpha) = 0). Where no dial is set, any number of units will do."""
    return 0.0 if claim.alpha is None else (1 - claim.alpha) ** claim.clusters


def _ranked(claim: Claim, delta: float) -> Claim:
    rank = None if claim.alpha is None else order_statistic_rank(claim.clusters, claim.alpha, delta)
    return replace(claim, delta=delta, misses_allowed=rank)
