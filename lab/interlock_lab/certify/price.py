"""What dials cost: the share of benign text that is withheld, per source, and what it would be at other ranks. PURE."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from interlock_server.assurance.bounds import bound_at_rank
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from scipy.stats import binomtest

from interlock_lab.certify.claims import Claim
from interlock_lab.certify.labelled import Labelled, one_of_each_cluster
from interlock_lab.certify.statistic import caught_by_gate_only, open_scores, released, statistics, turned
from interlock_lab.scores import Floats
from interlock_lab.training.rows import Row, hash_unit

SOURCE_ROWS_MAX = 500
RANKS_MAX = 40


@dataclass(frozen=True)
class Share:
    """So many of so many, with the exact 95 % interval."""

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share that was seen."""
        return self.count / self.n if self.n else math.nan

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%}, n {self.n})" if self.n else "no rows"


@dataclass(frozen=True)
class Benign:
    """Independent benign rows of one source, with the evidence on each."""

    source: str
    evidence: Sequence[Evidence]


@dataclass(frozen=True)
class Price:
    """What a profile withholds of one benign source, and how much of it for being unlike anything known alone."""

    profile: str
    source: str
    withheld: Share
    gate_only: int


@dataclass(frozen=True)
class Point:
    """Dials that could have been: their factor, the bound, and the benign share that they would withhold per source."""

    misses_allowed: int
    factor: float
    bound: float
    withheld: Mapping[str, float]


def share(count: int, n: int) -> Share:
    """The share with its interval; of nothing it is anything."""
    if not n:
        return Share(0, 0, 0.0, 1.0)
    interval = binomtest(count, n).proportion_ci(method="exact")
    return Share(count, n, float(interval.low), float(interval.high))


def prices(groups: Sequence[Benign], policy: Policy, profiles: Sequence[str]) -> list[Price]:
    """One line for each profile and benign source."""
    return [
        Price(
            profile,
            group.source,
            share(sum(not out for out in released(group.evidence, policy, profile)), len(group.evidence)),
            caught_by_gate_only(group.evidence, policy, profile),
        )
        for profile in profiles
        for group in groups
    ]


def trade_off(claim: Claim, harmful: Sequence[Evidence], groups: Sequence[Benign], policy: Policy) -> list[Point]:
    """Bound against price over the ranks that a claim could have had, of the policy before any dial was set.

    Each point's bound holds by itself, at the confidence that the claim spends; the curve is no choice of a dial.
    """
    factors = np.sort(statistics(harmful, policy, claim.profile))[:RANKS_MAX]
    scores = {group.source: open_scores(group.evidence, policy, claim.profile) for group in groups}
    return [
        Point(
            rank,
            float(factor),
            bound_at_rank(rank, claim.clusters, claim.delta),
            {source: _withheld(found, policy, claim.profile, float(factor)) for source, found in scores.items()},
        )
        for rank, factor in enumerate(factors)
        if math.isfinite(factor)
    ]


def benign_rows(rows: Sequence[Row]) -> list[Labelled]:
    """Of rows that no model was fitted on, those that are benign by their labels: so many per source, one of each cluster."""
    by_source: dict[str, list[Labelled]] = defaultdict(list)
    for row in rows:
        known = set(row.label_vector) == {0.0}
        if (row.split == "shape" and known) or (row.split == "benign_check" and not row.harmful_in):
            by_source[row.source.partition("/")[0]].append(_labelled(row))
    found = []
    for name, group in sorted(by_source.items()):
        ordered = sorted(one_of_each_cluster(group), key=lambda row: hash_unit(f"price:{row.id}"))
        found += [row.model_copy(update={"source": name}) for row in ordered[:SOURCE_ROWS_MAX]]
    return found


def _labelled(row: Row) -> Labelled:
    return Labelled(
        id=f"{row.source} {row.id}",
        source=row.source,
        cluster=row.cluster,
        prompt=row.prompt,
        completion=row.completion,
        labels={},
    )


def _withheld(scores: Mapping[str, Floats], policy: Policy, profile: str, factor: float) -> float:
    """The share withheld where the dials are turned."""
    dials, tolerance = turned(policy, profile, factor), policy.profiles[profile].tolerance
    out = np.all([found < dials[profile, category] - tolerance for category, found in scores.items()], axis=0)
    return float(1 - np.mean(out))
