"""How well scores tell harm from its look-alikes: per category and source, at the miss rates that matter here.

Intervals come from resampling whole clusters, since rows of one cluster err together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from interlock_lab.training.rows import BENIGN_TO, CATEGORIES, HARMFUL_FROM, Row

MISS_RATES = (0.01, 0.05, 0.10)
ROWS_MIN = 8
RESAMPLES = 200

Floats = npt.NDArray[np.floating[Any]]
Booleans = npt.NDArray[np.bool_]
Measure = Callable[[Floats, Booleans, Floats], float]
"""Scores, which of them are harmful, and weights of the rows -> one figure."""


def auroc(scores: Floats, harmful: Booleans, weights: Floats) -> float:
    """The chance that a harmful row scores above a benign one; ties count half."""
    return float(roc_auc_score(harmful, scores, sample_weight=weights))


def auprc(scores: Floats, harmful: Booleans, weights: Floats) -> float:
    """Average precision: unlike the AUROC it depends on the share of harmful rows."""
    return float(average_precision_score(harmful, scores, sample_weight=weights))


def withheld_at(miss_rate: float) -> Measure:
    """The share of benign rows at or above the highest threshold that misses at most `miss_rate` of the harmful ones."""

    def measure(scores: Floats, harmful: Booleans, weights: Floats) -> float:
        benign = ~harmful
        caught = scores >= threshold_at(miss_rate, scores, harmful, weights)
        return float(weights[benign & caught].sum() / weights[benign].sum())

    return measure


def threshold_at(miss_rate: float, scores: Floats, harmful: Booleans, weights: Floats) -> float:
    """The highest score of a harmful row below which at most `miss_rate` of the harmful weight lies."""
    mine = scores[harmful]
    order = np.argsort(mine, kind="stable")
    missed = np.cumsum(weights[harmful][order]) / weights[harmful].sum()
    place = int(np.searchsorted(missed, miss_rate + 1e-9, side="right"))
    return float(mine[order][min(place, len(mine) - 1)])


MEASURES: dict[str, Measure] = {
    "auroc": auroc,
    "auprc": auprc,
    **{f"benign_withheld_at_{rate:.0%}_missed": withheld_at(rate) for rate in MISS_RATES},
}


def report(rows: Sequence[Row], scores: Floats) -> dict[str, Any]:
    """Scores have shape [rows, categories]; rows whose label is unknown in a category do not count there."""
    return {name: _category(rows, scores[:, place], name) for place, name in enumerate(CATEGORIES)}


def labelled(rows: Sequence[Row], category: str) -> tuple[Booleans, Booleans]:
    """(known, harmful) per row: a label between benign and harmful counts as unknown."""
    label = np.array([np.nan if row.labels[category] is None else row.labels[category] for row in rows], float)
    harmful = label > HARMFUL_FROM
    return harmful | (label <= BENIGN_TO), harmful


def resampled(clusters: Sequence[str], count: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Weights of the rows when the clusters are drawn with replacement, `count` times."""
    random = np.random.default_rng(seed)
    _, member_of = np.unique(np.asarray(clusters), return_inverse=True)
    size = int(member_of.max()) + 1
    for _ in range(count):
        yield np.bincount(random.integers(0, size, size), minlength=size)[member_of].astype(float)


def interval(values: Sequence[float]) -> list[float]:
    """The middle 95 % of resampled values."""
    return [round(float(value), 4) for value in np.nanquantile(values, (0.025, 0.975))]


def _category(rows: Sequence[Row], scores: Floats, name: str) -> dict[str, Any]:
    families = np.array([row.source.split("/")[0] for row in rows])
    by_source = {str(family): _measured(rows, scores, name, families == family) for family in np.unique(families)}
    overall = _measured(rows, scores, name, np.ones(len(rows), bool))
    return {**overall, "by_source": {family: found for family, found in by_source.items() if found}}


def _measured(rows: Sequence[Row], scores: Floats, name: str, among: Booleans) -> dict[str, Any]:
    known, harmful = labelled(rows, name)
    chosen: list[int] = np.flatnonzero(known & among).tolist()
    mine, score = harmful[chosen], scores[chosen]
    if min(mine.sum(), (~mine).sum()) < ROWS_MIN:
        return {}
    draws = [w for w in resampled([rows[place].cluster for place in chosen]) if w[mine].any() and w[~mine].any()]
    found: dict[str, Any] = {"harmful": int(mine.sum()), "benign": int((~mine).sum())}
    for title, measure in MEASURES.items():
        found[title] = round(measure(score, mine, np.ones(len(mine))), 4)
        found[f"{title}_95"] = interval([measure(score, mine, weights) for weights in draws])
    return found
