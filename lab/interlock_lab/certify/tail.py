"""One tail: a generalised Pareto distribution through the lowest of some margins, by profile likelihood. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

VOLUMES = (10**6, 10**7, 10**8, 10**9)

_SHAPES = np.linspace(-0.5, 1.0, 61) + 1e-6  # never 0, where the formulas have a gap
# Of a normal prior around the exponential tail, for the points only: so few units hardly tell the shape.
_SHAPE_DEVIATION = 0.1
_CUT = 1.9207  # half the 95 % quantile of chi-square with one degree of freedom
_GOLDEN = (math.sqrt(5) - 1) / 2

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TailFit:
    """A generalised Pareto tail through the `units` lowest margins: by how much they are below `threshold`."""

    units: int
    threshold: float
    shape: float
    scale: float
    miss_rate: Estimate
    worst: tuple[Estimate, ...]
    """The lowest margin among each of VOLUMES harmful exchanges, in nats; below 0 it is beyond the dial."""

    @property
    def modified_scale(self) -> float:
        """The same at every threshold where the tail is generalised Pareto."""
        return self.scale + self.shape * self.threshold


class Tail:
    """The lowest margins below a threshold, and the likelihood of tails. A unit that was missed counts as missed, however
    far it went: what lies beyond the dial does not shape the tail before it.

    The likelihood is a row over _SHAPES; scales are logarithms. At one shape, everything grows with the scale.
    """

    def __init__(self, ordered: Floats, units: int) -> None:
        self.units, self.of = units, len(ordered)
        beyond = ordered[units] if units < len(ordered) else math.inf
        self.threshold = float(beyond if math.isfinite(beyond) else ordered[units - 1])
        tail = ordered[:units]
        self.missed = int((tail < 0).sum())
        self._excesses = (self.threshold - tail[tail >= 0])[:, None]
        typical = math.log(float(np.minimum(self.threshold - tail, self.threshold).mean()))
        self._least, self._most = (np.full(len(_SHAPES), typical + step) for step in (-5.0, 5.0))

    def fit(self) -> TailFit:
        """The best tail, and the range of every figure over all tails that are likely enough."""
        best = self._best_scales()
        profile = self.log_likelihood(best)
        chosen = int(np.argmax(profile - (_SHAPES / _SHAPE_DEVIATION) ** 2 / 2))
        regions = self._regions(best, float(profile.max()))

        def estimate(figure: Callable[[Floats, float], Floats]) -> Estimate:
            edges = np.concatenate([figure(scales, share)[inside] for inside, scales, share in regions])
            low, high = float(edges.min()), float(edges.max())
            value = float(figure(best, self.units / self.of)[chosen])
            return Estimate(min(max(value, low), high), low, high)

        return TailFit(
            units=self.units,
            threshold=self.threshold,
            shape=float(_SHAPES[chosen]),
            scale=float(np.exp(best[chosen])),
            miss_rate=estimate(self._miss_rate),
            worst=tuple(estimate(partial(self._worst, exchanges)) for exchanges in VOLUMES),
        )

    def log_likelihood(self, log_scales: Floats) -> Floats:
        """Of each shape with its scale."""
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(1 + _SHAPES * self._excesses / np.exp(log_scales), 0))
        found = -len(logs) * log_scales - (1 + 1 / _SHAPES) * logs.sum(axis=0)
        return np.asarray(found + self.missed * self._log_survival(log_scales) if self.missed else found)

    def _log_survival(self, log_scales: Floats) -> Floats:
        """That a unit of the tail is missed."""
        with np.errstate(divide="ignore"):
            reached = np.log(np.maximum(1 + _SHAPES * self.threshold / np.exp(log_scales), 0))
        return np.asarray(-reached / _SHAPES)

    def _miss_rate(self, log_scales: Floats, share: float) -> Floats:
        return np.asarray(share * np.exp(self._log_survival(log_scales)))

    def _worst(self, exchanges: int, log_scales: Floats, share: float) -> Floats:
        depth = np.exp(log_scales) / _SHAPES * ((exchanges * share) ** _SHAPES - 1)
        return np.asarray(self.threshold - depth)

    def _best_scales(self) -> Floats:
        """Golden section, for all shapes at once; where both are impossible the scale is too small."""
        low, high = self._least, self._most
        for _ in range(30):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            smaller = self.log_likelihood(left) > self.log_likelihood(right)
            low, high = np.where(smaller, low, left), np.where(smaller, right, high)
        return np.asarray((low + high) / 2)

    def _regions(self, best: Floats, highest: float) -> list[tuple[npt.NDArray[np.bool_], Floats, float]]:
        """Edges of what is likely enough: (shapes, scales, share of all units in the tail)."""
        share = self.units / self.of
        deviation = math.sqrt((1 - share) / self.units)
        found = []
        for outside, steps in product((self._least, self._most), (-1.5, 0.0, 1.5)):
            moved = min(share * math.exp(steps * deviation), 1 - 1e-9)
            cut = highest - _CUT + self._unlikely(moved)
            inside = self.log_likelihood(best) >= cut
            if inside.any():
                found.append((inside, self._edge(best, outside, cut), moved))
        return found

    def _unlikely(self, share: float) -> float:
        """How much less likely another share of the tail is than the one that was seen."""

        def log_likelihood(p: float) -> float:
            return self.units * math.log(p) + (self.of - self.units) * math.log1p(-p)

        return log_likelihood(self.units / self.of) - log_likelihood(share)

    def _edge(self, inside: Floats, outside: Floats, cut: float) -> Floats:
        for _ in range(18):
            middle = (inside + outside) / 2
            likely = self.log_likelihood(middle) >= cut
            inside, outside = np.where(likely, middle, inside), np.where(likely, outside, middle)
        return inside
