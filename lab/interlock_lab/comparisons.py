"""What the panel gains over its members, and over a floor of n-grams, at matched misses, on rows that no model was fitted on.

PURE: arrays in, figures with paired cluster-bootstrap intervals out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from interlock_lab.training.metrics import Booleans, Floats, Measure, interval, resampled, threshold_at, withheld_at

MISS_RATES = (0.05, 0.10)
PANEL, EACH = "the panel", "every member at its own threshold"


@dataclass(frozen=True)
class Compared:
    """One figure of one rule, and how far it is from the reference's on the same resampled rows."""

    name: str
    value: float
    difference: float
    difference_95: tuple[float, float]


def paired(
    scores: Mapping[str, Floats], reference: str, harmful: Booleans, clusters: Sequence[str], measure: Measure
) -> list[Compared]:
    """The measure of each set of scores [rows], and its difference from that of `reference`."""
    ones = np.ones(len(harmful))
    values = {name: measure(mine, harmful, ones) for name, mine in scores.items()}
    gaps: dict[str, list[float]] = {name: [] for name in scores}
    for weights in resampled(clusters):
        if weights[harmful].any() and weights[~harmful].any():
            drawn = {name: measure(mine, harmful, weights) for name, mine in scores.items()}
            for name, value in drawn.items():
                gaps[name].append(value - drawn[reference])
    found = []
    for name, value in values.items():
        low, high = interval(gaps[name])
        found.append(Compared(name, value, value - values[reference], (low, high)))
    return found


def rules_compared(
    llrs: Mapping[str, Floats], panel: Floats, harmful: Booleans, clusters: Sequence[str], miss_rate: float
) -> list[Compared]:
    """The share of benign rows withheld at matched misses: by each member alone, by any member's veto, by the panel."""
    scores = {**llrs, EACH: in_ranks(llrs), PANEL: panel}
    return paired(scores, PANEL, harmful, clusters, withheld_at(miss_rate))


def in_ranks(llrs: Mapping[str, Floats]) -> Floats:
    """Withhold if any member is at or above a threshold of its own, all moved together: the largest rank among the rows."""
    ranks = [np.searchsorted(np.sort(values), values, side="left") / len(values) for values in llrs.values()]
    return np.asarray(np.max(ranks, axis=0))


def miss_correlations(llrs: Mapping[str, Floats], harmful: Booleans, miss_rate: float) -> dict[tuple[str, str], float]:
    """Per pair of members: the correlation of whether they miss a harmful row, each at the same rate of misses."""
    ones = np.ones(len(harmful))
    missed = {name: (values < threshold_at(miss_rate, values, harmful, ones))[harmful] for name, values in llrs.items()}
    return {(a, b): _correlation(missed[a], missed[b]) for a, b in combinations(sorted(missed), 2)}


def _correlation(left: Booleans, right: Booleans) -> float:
    if left.all() or right.all() or not (left.any() and right.any()):
        return float("nan")
    return float(np.corrcoef(left, right)[0, 1])
