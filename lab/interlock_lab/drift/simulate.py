"""Traffic that drifts or does not, by the million: a vectorised twin of DriftDetector, for one statistic at a time.

The tests hold it against the detector itself. Only numbers of conversations in each bin are drawn, block by block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from interlock_server.assurance.drift import (
    BLOCK_ITEMS,
    WINDOWS_BLOCKS,
    Quantiles,
    baseline_error,
    nats_needed,
    quantiles,
)
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Cdf = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Design:
    """What the monitor was set to. Every statistic spends its part of `delta`, half of it on the baseline."""

    limit: float = 0.1
    delta: float = 0.01
    statistics: int = 5
    baseline_items: int = 5_000

    @property
    def delta_of_each(self) -> float:
        """Of one statistic, for the baseline and once more for the stream."""
        return self.delta / 2 / self.statistics


def mixture(share: float, shift: float) -> Cdf:
    """Standard normal but for a share that is shifted."""

    def cdf(x: Floats) -> Floats:
        return np.asarray((1 - share) * norm.cdf(x) + share * norm.cdf(x - shift))

    return cdf


def drawn_baseline(design: Design, chance: np.random.Generator) -> Quantiles:
    """One that was attested on ordinary traffic."""
    found = quantiles(chance.normal(size=design.baseline_items).tolist())
    assert found is not None
    return found


def drawn_blocks(cdf: Cdf, baseline: Quantiles, blocks: int, chance: np.random.Generator) -> Floats:
    """How many conversations of each block are at or below each threshold."""
    below = cdf(np.array(baseline.thresholds))
    bins = np.diff(np.concatenate([[0.0], below, [1.0]])).clip(0)
    counts = chance.multinomial(BLOCK_ITEMS, bins / bins.sum(), size=blocks)
    return np.cumsum(counts, axis=1)[:, :-1].astype(float)


def latched_at(at_most: Floats, baseline: Quantiles, design: Design, first_block: int = 1) -> int | None:
    """The number of the block at whose end the bound exceeds the limit, as DriftDetector would find; None when it never does.

    `first_block` is the number of the first one here, for traffic that ran before and is not looked at any more.
    """
    totals = np.concatenate([np.zeros((1, at_most.shape[1])), np.cumsum(at_most, axis=0)])
    shares = np.array(baseline.shares)
    error = baseline_error(baseline.items, design.delta_of_each)
    numbers = np.arange(first_block, first_block + len(at_most))
    nats = np.array([nats_needed(int(n), len(shares), design.delta_of_each) for n in numbers])
    latched = np.zeros(len(at_most), dtype=bool)
    for blocks in WINDOWS_BLOCKS:
        if blocks > len(at_most):
            continue
        items = blocks * BLOCK_ITEMS
        means = (totals[blocks:] - totals[:-blocks]) / items
        needed = nats[blocks - 1 :, None] / items
        for mean, share in ((means, shares), (1 - means, 1 - shares)):
            to_beat = np.broadcast_to(share + error + design.limit, mean.shape)
            beats = (mean > to_beat) & (to_beat < 1)
            found = np.zeros(mean.shape, dtype=bool)
            found[beats] = divergences(mean[beats], to_beat[beats]) > np.broadcast_to(needed, mean.shape)[beats]
            latched[blocks - 1 :] |= found.any(axis=1)
    return int(numbers[np.argmax(latched)]) if latched.any() else None


def divergences(p: Floats, q: Floats) -> Floats:
    """KL(p || q) between coins, 0 < q < 1 and 0 < p <= 1."""
    rest = np.where(p < 1, (1 - p) * np.log(np.where(p < 1, 1 - p, 1.0) / (1 - q)), 0.0)
    return np.asarray(p * np.log(p / q) + rest)


def false_latches(design: Design, cdf: Cdf, items: int, runs: int, seed: int) -> int:
    """In how many runs of so many conversations any of the statistics, each with a baseline of its own, latches."""
    chance = np.random.default_rng(seed)
    found = 0
    for _ in range(runs):
        for _ in range(design.statistics):
            known = drawn_baseline(design, chance)
            if latched_at(drawn_blocks(cdf, known, items // BLOCK_ITEMS, chance), known, design) is not None:
                found += 1
                break
    return found


def delays(design: Design, cdf: Cdf, before: int, items: int, runs: int, seed: int) -> list[float]:
    """After how many conversations of drift it is found, for each run; infinite when it is not within `items`.

    `before` so many ordinary ones the monitor began; only one of its statistics sees the drift.
    """
    chance = np.random.default_rng(seed)
    longest = max(WINDOWS_BLOCKS)
    first = max(before // BLOCK_ITEMS - longest, 0)
    found = []
    for _ in range(runs):
        known = drawn_baseline(design, chance)
        usual = drawn_blocks(mixture(0, 0), known, before // BLOCK_ITEMS - first, chance)
        drifted = drawn_blocks(cdf, known, items // BLOCK_ITEMS, chance)
        block = latched_at(np.concatenate([usual, drifted]), known, design, first + 1)
        found.append(np.inf if block is None else (block - before // BLOCK_ITEMS) * BLOCK_ITEMS)
    return found


def distance(cdf: Cdf) -> float:
    """Of a distribution from standard normal."""
    x = np.linspace(-12, 12, 24_001)
    return float(np.max(np.abs(cdf(x) - norm.cdf(x))))
