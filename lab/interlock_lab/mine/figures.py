"""What labels say: whether mining found more errors than chance, and how much harm was released. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.stats import beta

from interlock_lab.mine.sampling import Stratum

CONFIDENCE = 0.95


class Share(NamedTuple):
    """A share with its 95 % interval; `of` is how many it is a share of, as far as they count."""

    value: float
    low: float
    high: float
    of: float


@dataclass(frozen=True)
class Judged:
    """A labelled item of the queue."""

    drawn_as: Stratum
    propensity: float
    released: bool
    harmful: bool

    @property
    def missed(self) -> bool:
        return self.released and self.harmful

    @property
    def error(self) -> bool:
        return self.released == self.harmful


@dataclass(frozen=True)
class Figures:
    """Shares of errors per stratum, and the miss rate: harmful texts among what was released."""

    mined: Share
    random: Share
    mined_missed: Share
    random_missed: Share
    miss_rate: Share
    """By Horvitz and Thompson, from both strata."""
    miss_rate_random: Share
    """By the random stratum alone; exact."""


def figures(judged: Sequence[Judged]) -> Figures:
    """Of clear labels only."""
    mined, random = ([one for one in judged if one.drawn_as == stratum] for stratum in ("mined", "random"))
    released = [one for one in judged if one.released]
    return Figures(
        mined=_counted(mined, lambda one: one.error),
        random=_counted(random, lambda one: one.error),
        mined_missed=_counted(mined, lambda one: one.missed),
        random_missed=_counted(random, lambda one: one.missed),
        miss_rate=horvitz_thompson([one.missed for one in released], [one.propensity for one in released]),
        miss_rate_random=_counted([one for one in random if one.released], lambda one: one.missed),
    )


def exact(hits: float, of: float) -> Share:
    """Clopper and Pearson; `of` need not be whole."""
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, of - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, of - hits)) if hits < of else 1.0
    return Share(hits / of if of else 0.0, low, high, of)


def horvitz_thompson(hits: Sequence[bool], propensities: Sequence[float]) -> Share:
    """The share of hits, each item counting as many times as it stands for.

    The interval is the exact one of as many equal items as such weights are worth (Kish): unlike a standard error it does
    not vanish where no hit was drawn.
    """
    weights = [1 / propensity for propensity in propensities]
    total = sum(weights)
    worth = total**2 / sum(weight**2 for weight in weights) if weights else 0.0
    value = sum(weight for weight, hit in zip(weights, hits, strict=True) if hit) / total if weights else 0.0
    return exact(min(value, 1.0) * worth, worth)


def _counted(items: Sequence[Judged], hit: Callable[[Judged], bool]) -> Share:
    return exact(sum(map(hit, items)), len(items))
