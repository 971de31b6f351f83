"""Is traffic still what an operator attested? Pure: values in, a lower bound on the distance out; no file and no clock.

Conversations fill blocks. At the end of each block, sums over the last blocks, for several lengths, are compared with the
baseline at its quantiles. The bounds hold for all blocks, lengths, statistics and quantiles together, so that they may be
looked at for ever: see docs/decisions/011.
"""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

from interlock_server.decision.evidence import Evidence, valid_score
from interlock_server.decision.verdict import Reason

BLOCK_ITEMS = 200
WINDOWS_BLOCKS = (32, 24, 16, 12, 8, 6, 4, 3, 2, 1)  # long ones first: what they show, most short ones cannot beat
LEVELS = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.98, 0.99)
MARGIN, OOD_PVALUE = "margin", "ood_pvalue"
_SPENT_IN_ALL = 2.10975  # the sum of 1 / (k ln(k)^2) over k >= 2, rounded up
_BASELINE_SHARE = 0.5
_UNREADABLE = frozenset({Reason.INPUT_UNREADABLE, Reason.OUT_OF_DISTRIBUTION})
_BISECTIONS = 10


@dataclass(frozen=True)
class Quantiles:
    """Of one statistic in the baseline: which `shares` of its `items` were at or below the `thresholds`."""

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    items: int


@dataclass(frozen=True)
class Baseline:
    """What traffic was attested to be. No caller has more than `caller_share_max` of the weight, in it and compared with it."""

    statistics: Mapping[str, Quantiles]
    caller_share_max: float


def member_statistic(member: str) -> str:
    """The name of the largest score of a member."""
    return f"member:{member}"


def statistics_of(evidence: Evidence, margin: float | None, members: Collection[str]) -> Mapping[str, float] | None:
    """What is compared of one exchange, or None when its evidence tells about the service and not about the text.

    A text that could not be read, or is in an unknown script, is as far out as can be in every statistic.
    """
    if evidence.alarms:
        if not _UNREADABLE.issuperset(evidence.alarms):
            return None
        return {**{member_statistic(name): math.inf for name in members}, MARGIN: -math.inf, OOD_PVALUE: -math.inf}
    values: dict[str, float] = {}
    for item in evidence.members:
        if item.member in members:
            score = max(item.scores.values(), default=-1.0)
            if item.missing is not None or not valid_score(score):
                return None
            values[member_statistic(item.member)] = score
    if len(values) < len(members):
        return None
    if margin is not None:
        values[MARGIN] = margin
    if evidence.ood_pvalue is not None:
        values[OOD_PVALUE] = evidence.ood_pvalue
    return values


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """Those of a statistic in the baseline; None when there is no threshold that is a number."""
    ordered = sorted(values)
    picked = {ordered[min(int(level * len(ordered)), len(ordered) - 1)] for level in LEVELS if ordered}
    thresholds = tuple(sorted(value for value in picked if math.isfinite(value)))
    if not thresholds:
        return None
    shares = tuple(bisect_right(ordered, threshold) / len(ordered) for threshold in thresholds)
    return Quantiles(thresholds, shares, len(ordered))


class Conversations:
    """Tells the first of several exchanges of one conversation; it remembers the last `size_max` conversations."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._seen: dict[Hashable, None] = {}

    def is_new(self, key: Hashable) -> bool:
        """Whether it has not been here lately."""
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > self._size_max:
            del self._seen[next(iter(self._seen))]
        return True


class Places:
    """Which conversations count: of the places of each block a caller gets no more than its share; what it has more is ignored.

    Whether one counts depends on who asks and on who asked before, never on what was found.
    """

    def __init__(self, caller_share_max: float) -> None:
        self._each_max = max(1, int(caller_share_max * BLOCK_ITEMS))
        self._taken: dict[str, int] = {}
        self._left = BLOCK_ITEMS

    def take(self, caller: str) -> bool:
        """Takes a place, if the caller may have one more in this block."""
        taken = self._taken.get(caller, 0)
        if taken == self._each_max:
            return False
        self._taken[caller] = taken + 1
        self._left -= 1
        if not self._left:
            self._left = BLOCK_ITEMS
            self._taken.clear()
        return True

    @property
    def at_an_end(self) -> bool:
        """Whether the last place taken was the last of a block."""
        return self._left == BLOCK_ITEMS


@dataclass(frozen=True)
class Distance:
    """A lower bound on how far one statistic is from the baseline: the largest difference of the distribution functions."""

    lower_bound: float = 0.0
    items: int = 0
    """How many of the last conversations show it."""


class DriftDetector:
    """Compares traffic with a baseline. The probability that any bound, ever, is above the true distance is at most `delta`."""

    def __init__(self, baseline: Baseline, delta: float) -> None:
        names = baseline.statistics
        self._delta = delta * (1 - _BASELINE_SHARE) / max(1, len(names))
        baseline_delta = delta * _BASELINE_SHARE / max(1, len(names))
        self._statistics = {
            name: _Statistic(quantiles, baseline_error(quantiles.items, baseline_delta))
            for name, quantiles in names.items()
        }
        self._places = Places(baseline.caller_share_max)
        self._blocks = 0
        self.distances: Mapping[str, Distance] = {name: Distance() for name in names}
        """As of the end of the last block."""

    @property
    def items(self) -> int:
        """How many conversations were compared."""
        return self._blocks * BLOCK_ITEMS

    def observe(self, caller: str, values: Mapping[str, float]) -> bool:
        """Takes note of one conversation; False when its caller already has its share of the block."""
        if not self._places.take(caller):
            return False
        for name, statistic in self._statistics.items():
            value = values.get(name)
            if value is not None:
                statistic.bins[bisect_left(statistic.quantiles.thresholds, value)] += 1
        if self._places.at_an_end:
            self._blocks += 1
            self.distances = {name: s.close(self._blocks, self._delta) for name, s in self._statistics.items()}
        return True


class _Statistic:
    """One statistic: the bins of the block that is filling, and running totals at the ends of the last blocks."""

    def __init__(self, quantiles: Quantiles, error: float) -> None:
        self.quantiles = quantiles
        self.bins = [0] * (len(quantiles.thresholds) + 1)
        self._error = error
        self._totals: deque[list[float]] = deque([[0.0] * len(quantiles.thresholds)], max(WINDOWS_BLOCKS) + 1)

    def close(self, block: int, delta: float) -> Distance:
        """The distance at the end of a block. A conversation without a value counts as if it were from the baseline."""
        counted = sum(self.bins)
        at_most, totals = 0, []
        for before, share, in_bin in zip(self._totals[-1], self.quantiles.shares, self.bins, strict=False):
            at_most += in_bin
            totals.append(before + at_most + (BLOCK_ITEMS - counted) * share)
        self._totals.append(totals)
        self.bins = [0] * len(self.bins)
        nats = nats_needed(block, len(self.quantiles.thresholds), delta)
        best = Distance()
        for blocks in WINDOWS_BLOCKS:
            if blocks < len(self._totals):
                items = blocks * BLOCK_ITEMS
                best = self._compare(totals, self._totals[-1 - blocks], items, nats / items, best)
        return best

    def _compare(self, now: list[float], then: list[float], items: int, nats: float, best: Distance) -> Distance:
        for total, before, share in zip(now, then, self.quantiles.shares, strict=True):
            mean = (total - before) / items
            if abs(mean - share) - self._error > best.lower_bound:
                if mean < share:
                    mean, share = 1 - mean, 1 - share
                to_beat = share + self._error + best.lower_bound
                if divergence(mean, to_beat) > nats:
                    best = Distance(lowest_mean(mean, nats, to_beat) - share - self._error, items)
        return best


def baseline_error(items: int, delta: float) -> float:
    """How far the baseline's shares may be from the truth, all at once (Dvoretzky, Kiefer, Wolfowitz, Massart)."""
    return math.sqrt(math.log(2 / delta) / (2 * items))


def nats_needed(block: int, thresholds: int, delta: float) -> float:
    """What speaks against a mean at the end of the given block (1, 2, ...), that all tests together err with `delta`."""
    tests = len(WINDOWS_BLOCKS) * 2 * thresholds
    return math.log(tests * _SPENT_IN_ALL * (block + 1) * math.log(block + 1) ** 2 / delta)


def lowest_mean(mean: float, nats: float, low: float = 0.0) -> float:
    """Where KL(mean || q) falls to `nats`, or a little below: a mean of bounded values is above it (Chernoff, Hoeffding).

    It is looked for from `low` on, where the divergence must still be larger.
    """
    high = mean
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if divergence(mean, middle) > nats:
            low = middle
        else:
            high = middle
    return low


def divergence(p: float, q: float) -> float:
    """KL(p || q) between two coins; infinite where q rules out what p allows."""
    if q <= 0:
        return math.inf if p > 0 else 0.0
    if q >= 1:
        return math.inf if p < 1 else 0.0
    return p * math.log(p / q) + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0)
