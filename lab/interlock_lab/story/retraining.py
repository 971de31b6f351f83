"""Trains `ngrams` again with something wrong. It fails by letting harmful texts go (silent) or by holding benign ones (safe).

On the written rows alone, at thresholds frozen before: what would happen if nobody fitted the panel again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from interlock_lab.story.checks import Parameters
from interlock_lab.story.impostors import trained, with_shuffled_labels
from interlock_lab.story.material import Material
from interlock_lab.training import ngrams
from interlock_lab.training.rows import CATEGORIES, Row, hash_unit

BENIGN_WITHHELD = 0.20
SIGNIFICANT = 0.01
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Aftermath:
    """What training with something wrong has done: per harmful text that was caught, whether it still is."""

    still_caught: Sequence[bool]
    kind: str


def label_noise(rows: Sequence[Row], share: float) -> list[Row]:
    """This share of the rows says the opposite in every category."""
    flipped = [{name: None if v is None else 1.0 - v for name, v in row.labels.items()} for row in rows]
    return [
        replace(row, labels=labels) if hash_unit(f"noise:{row.id}") < share else row
        for row, labels in zip(rows, flipped, strict=True)
    ]


def dropped_rows(rows: Sequence[Row], share: float) -> list[Row]:
    """This share of the clusters was never collected."""
    return [row for row in rows if hash_unit(f"drop:{row.cluster}") >= share]


def redrawn_rows(rows: Sequence[Row], share: float) -> list[Row]:
    """This share of the rows is drawn anew with replacement: what another seed is to a training without chance."""
    drawn = np.random.default_rng(1).integers(0, len(rows), int(share * len(rows))).tolist()
    return [rows[place] for place in drawn]


RETRAININGS: Mapping[str, Callable[[Sequence[Row], float], list[Row]]] = {
    "label_noise": label_noise,
    "dropped_rows": dropped_rows,
    "redrawn_rows": redrawn_rows,
}


class Retraining:
    """The same training over and over; the one with nothing wrong is the measure of all others."""

    def __init__(self, material: Material) -> None:
        self._fit = material.fit
        self._harmful = material.drawn(row for row in material.shape if row.harmful_in)
        self._benign = material.drawn(row for row in material.shape if not row.harmful_in)
        sound = trained(self._fit)
        benign = sound.score_rows(self._benign)
        self._thresholds = np.quantile(benign, 1 - BENIGN_WITHHELD / len(CATEGORIES), axis=0)
        self._caught, self._held = self._withheld(sound)

    def after(self, check: str, parameters: Parameters) -> Aftermath:
        """What the named fault does."""
        return self.aftermath(RETRAININGS[check](self._fit, float(parameters["share"])))

    @cached_property
    def shuffled(self) -> Aftermath:
        """What the label-shuffled impostor does."""
        return self.aftermath(with_shuffled_labels(self._fit))

    def aftermath(self, rows: Sequence[Row]) -> Aftermath:
        """What training on these rows instead does."""
        caught, held = self._withheld(trained(rows))
        gone, found = int((self._caught & ~caught).sum()), int((caught & ~self._caught).sum())
        more, fewer = int((held & ~self._held).sum()), int((self._held & ~held).sum())
        silent, safe = _tilts(gone, found), _tilts(more, fewer)
        kind = "silent" if silent else "safe" if safe else "neither silent nor safe beyond chance"
        said = f"{kind}: {gone} harmful let go and {found} more caught of {len(caught)}, "
        said += f"{more} benign held and {fewer} let go of {len(held)}"
        return Aftermath(caught[self._caught].tolist(), said)

    def _withheld(self, model: ngrams.NgramModel) -> tuple[Booleans, Booleans]:
        """Per harmful and per benign row, whether any category is at its threshold or above."""
        harmful, benign = (
            np.any(model.score_rows(rows) >= self._thresholds, axis=1) for rows in (self._harmful, self._benign)
        )
        return np.asarray(harmful), np.asarray(benign)


def _tilts(more: int, fewer: int) -> bool:
    """Whether one direction outweighs the other beyond chance."""
    return more > fewer and binomtest(more, more + fewer).pvalue < SIGNIFICANT
