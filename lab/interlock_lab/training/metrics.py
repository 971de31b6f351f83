"""How well scores tell harm from its look-alikes: per category, per source, and at the miss rates that matter here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from interlock_lab.training.rows import CATEGORIES, Row

MISS_RATES = (0.05, 0.10)
ROWS_MIN = 8
BENIGN_TO = 0.2

Floats = npt.NDArray[np.floating[Any]]


def report(rows: Sequence[Row], scores: Floats) -> dict[str, Any]:
    """Scores have shape [rows, categories]; rows whose label is unknown in a category do not count there."""
    return {name: _category(rows, scores[:, place], name) for place, name in enumerate(CATEGORIES)}


def _category(rows: Sequence[Row], scores: Floats, name: str) -> dict[str, Any]:
    families = [row.source.split("/")[0] for row in rows]
    overall = _measured(rows, scores, name)
    by_source = {}
    for family in sorted(set(families)):
        places = [place for place, of_row in enumerate(families) if of_row == family]
        by_source[family] = _measured([rows[place] for place in places], scores[places], name)
    return {**overall, "by_source": {family: found for family, found in by_source.items() if found}}


def _measured(rows: Sequence[Row], scores: Floats, name: str) -> dict[str, float]:
    labels = np.array([np.nan if row.labels[name] is None else row.labels[name] for row in rows], float)
    harmful, benign = scores[labels > 0.5], scores[labels <= BENIGN_TO]
    if min(len(harmful), len(benign)) < ROWS_MIN:
        return {}
    found = {"harmful": len(harmful), "benign": len(benign), "auroc": round(auroc(harmful, benign), 4)}
    for rate in MISS_RATES:
        found[f"benign_withheld_at_{rate:.0%}_missed"] = round(withheld_at(harmful, benign, rate), 4)
    return found


def auroc(harmful: Floats, benign: Floats) -> float:
    """The chance that a harmful row scores above a benign one; ties count half."""
    ordered = np.sort(benign)
    below = np.searchsorted(ordered, harmful, side="left") + np.searchsorted(ordered, harmful, side="right")
    return float(below.mean() / 2 / len(benign))


def withheld_at(harmful: Floats, benign: Floats, miss_rate: float) -> float:
    """The share of benign rows at or above the threshold that misses `miss_rate` of the harmful ones."""
    threshold = np.sort(harmful)[int(miss_rate * len(harmful))]
    return float((benign >= threshold).mean())
