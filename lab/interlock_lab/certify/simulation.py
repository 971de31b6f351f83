"""Is the certificate honest? Invented worlds whose true miss rate is known, certified by the ranks that `certify` uses.

A row's statistic is what three correlated members make of it. Rows of one cluster share a part of what makes them easy or
hard; a bound is about a random row of a random cluster. PURE, and the same for the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from interlock_server.assurance.bounds import bound_at_rank, order_statistic_rank

Floats = npt.NDArray[np.float64]

DELTA = 0.05
ALPHAS = (0.10, 0.05, 0.03)
"""Of three profiles."""
OPENINGS = 5
ROWS_PER_CLUSTER = (1, 1, 2, 3, 5, 8, 13, 40)
"""As uneven as works of fiction are: a few clusters have most of the rows."""
REFERENCE_ROWS = 1_000_000
WEIGHTS, OFFSETS = (0.9, 0.3, 0.3), (-1.5, -1.0, -1.0)
HARMFUL_MEAN, BENIGN_MEAN = 4.0, -2.0


@dataclass(frozen=True)
class World:
    """What is simulated. `correlation` is within a cluster, `noise` the share of units that are harmful by label only."""

    correlation: float = 0.0
    noise: float = 0.0
    members_share: float = 0.6
    """How much of a member's error all members share."""
    clusters: int = 200


@dataclass(frozen=True)
class Honesty:
    """How often bounds held, of how many trials, and how far above the truth they were at the median."""

    name: str
    trials: int
    held: int
    nominal: float
    ratio: float

    @property
    def coverage(self) -> float:
        """The share of trials in which the bound, or all bounds together, held."""
        return self.held / self.trials

    @property
    def honest(self) -> bool:
        """No less than nominal, within three standard deviations of so many trials."""
        return self.coverage >= self.nominal - 3 * math.sqrt(self.nominal * (1 - self.nominal) / self.trials)


class Simulation:
    """Trials in one world."""

    def __init__(self, world: World, trials: int, seed: int = 1) -> None:
        self.world, self.trials = world, trials
        self._random = np.random.default_rng(seed)

    def certified(self, alpha: float = ALPHAS[0], delta: float = DELTA, row_wise: bool = False) -> Honesty:
        """One certification of one policy; `row_wise` takes every row for independent, as one must not."""
        difficulty = self._difficulty()
        used = difficulty if row_wise else difficulty[:, self._firsts]
        bound, rates = self._dialled(self._labelled_statistics(used), alpha, delta)
        name = (
            f"{'rows' if row_wise else 'clusters'}, correlation {self.world.correlation:g}, noise {self.world.noise:g}"
        )
        return self._honesty(f"{name}, target {alpha:g}", [rates <= bound], delta, [bound / rates])

    def best_profile(self, alphas: Sequence[float] = ALPHAS, delta: float = DELTA) -> Honesty:
        """Somebody picks a profile after seeing all bounds: all must hold at once."""
        values = self._labelled_statistics(self._difficulty()[:, self._firsts])
        found = [self._dialled(values, alpha, delta / len(alphas)) for alpha in alphas]
        name = f"choice among {len(alphas)} profiles, correlation {self.world.correlation:g}"
        return self._honesty(name, [r <= b for b, r in found], delta, [b / r for b, r in found])

    def reopened(
        self, openings: int = OPENINGS, alpha: float = ALPHAS[0], delta: float = DELTA, ledger: bool = True
    ) -> Honesty:
        """The same units certify one version of the models after the other; without the ledger each spends all of delta."""
        difficulty = self._difficulty()[:, self._firsts]
        found = []
        for opening in range(1, openings + 1):
            spent = delta / (opening * (opening + 1)) if ledger else delta
            found.append(self._dialled(self._labelled_statistics(difficulty), alpha, spent))
        name = (
            f"{openings} openings {'with' if ledger else 'without'} the ledger, correlation {self.world.correlation:g}"
        )
        return self._honesty(name, [r <= b for b, r in found], delta, [b / r for b, r in found])

    def _dialled(self, values: Floats, alpha: float, delta: float) -> tuple[float, Floats]:
        """The bound, and the true miss rate in every trial, of the dial that `certify` would set."""
        n = values.shape[1]
        rank = order_statistic_rank(n, alpha, delta)
        if rank is None:
            raise ValueError(f"{n} units are too few")
        dials = np.partition(values, rank, axis=1)[:, rank]
        missed = np.searchsorted(self._population, dials)
        return bound_at_rank(rank, n, delta), np.maximum(missed, 1) / len(self._population)

    def _difficulty(self) -> Floats:
        """Of every row in every trial; what it shares with its cluster and what it has of its own."""
        sizes, world = self._sizes, self.world
        shared = np.repeat(self._random.standard_normal((self.trials, world.clusters)), sizes, axis=1)
        own = self._random.standard_normal((self.trials, int(sizes.sum())))
        return np.asarray(math.sqrt(world.correlation) * shared + math.sqrt(1 - world.correlation) * own)

    def _labelled_statistics(self, difficulty: Floats) -> Floats:
        """With as many rows that are not harmful as the labels have errors."""
        wrong = self._random.random(difficulty.shape) < self.world.noise
        return self._statistics(np.where(wrong, BENIGN_MEAN, HARMFUL_MEAN) + difficulty)

    def _statistics(self, evidence: Floats) -> Floats:
        """The panel's score, with errors of its members that are partly the same."""
        together = math.sqrt(self.world.members_share) * self._random.standard_normal(evidence.shape)
        score = np.zeros(evidence.shape)
        for weight, offset in zip(WEIGHTS, OFFSETS, strict=True):
            own = math.sqrt(1 - self.world.members_share) * self._random.standard_normal(evidence.shape)
            score += weight * np.maximum(0.0, evidence + together + own - offset)
        return score

    def _honesty(
        self, name: str, held: Sequence[npt.NDArray[np.bool_]], delta: float, ratios: Sequence[Floats]
    ) -> Honesty:
        together = np.all(held, axis=0)
        return Honesty(name, self.trials, int(together.sum()), 1 - delta, float(np.median(ratios[0])))

    @cached_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return np.resize(np.array(ROWS_PER_CLUSTER), self.world.clusters)

    @cached_property
    def _firsts(self) -> npt.NDArray[np.int64]:
        """One row of each cluster."""
        return np.concatenate([[0], np.cumsum(self._sizes)[:-1]])

    @cached_property
    def _population(self) -> Floats:
        """Harmful rows, sorted: what share of them lies below a dial is its true miss rate."""
        return np.sort(self._statistics(HARMFUL_MEAN + self._random.standard_normal(REFERENCE_ROWS)))


def all_worlds(trials: int, seed: int = 1) -> list[Honesty]:
    """Everything that docs and tests state, the row-wise bound last: it must fail."""
    correlations = (0.0, 0.1, 0.2, 0.3)
    found = []
    for correlation in correlations:
        for noise in (0.0, 0.05):
            found.append(Simulation(World(correlation, noise), trials, seed).certified())
        found.append(Simulation(World(correlation), trials, seed).certified(ALPHAS[1]))
        found.append(Simulation(World(correlation), trials, seed).best_profile())
        found.append(Simulation(World(correlation), trials, seed).reopened())
    found += [Simulation(World(correlation), trials, seed).certified(row_wise=True) for correlation in correlations]
    return [*found, Simulation(World(), trials, seed).reopened(ledger=False)]
