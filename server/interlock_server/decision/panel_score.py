"""From scores to nats: frozen, strictly increasing maps, and the panel's weighted sum. Everything is monotone in every score."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

SCORE_MIN = 1e-6
SCORE_MAX = 1 - SCORE_MIN


def logit(score: float) -> float:
    """Log-odds of a score in [0, 1], clamped to [1e-6, 1 - 1e-6]."""
    clamped = min(max(score, SCORE_MIN), SCORE_MAX)
    return math.log(clamped / (1 - clamped))


@dataclass(frozen=True)
class ScoreMap:
    """A log-likelihood ratio as a piecewise linear, strictly increasing function of the score's log-odds.

    The first and last segments continue beyond their ends. Raises ValueError unless both coordinates are finite and
    strictly increasing, with two knots or more.
    """

    logits: tuple[float, ...]
    llrs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.logits) != len(self.llrs) or len(self.logits) < 2:
            raise ValueError("a score map needs two or more knots, as many logits as llrs")
        for name, values in (("logits", self.logits), ("llrs", self.llrs)):
            if not all(map(math.isfinite, values)):
                raise ValueError(f"{name} must be finite")
            if any(left >= right for left, right in pairwise(values)):
                raise ValueError(f"{name} must be strictly increasing")

    def llr(self, score: float) -> float:
        """The evidence z for harm in nats; `score` must be in [0, 1]."""
        x = logit(score)
        segment = min(max(bisect_right(self.logits, x) - 1, 0), len(self.logits) - 2)
        left, right = self.logits[segment], self.logits[segment + 1]
        low, high = self.llrs[segment], self.llrs[segment + 1]
        # Anchored at the nearer knot, so that rounding cannot make the map step down where two segments meet.
        if x - left <= right - x:
            return low + (x - left) * (high - low) / (right - left)
        return high - (right - x) * (high - low) / (right - left)

    @property
    def llr_min(self) -> float:
        """The lowest value that a score can reach."""
        return self.llr(0.0)

    @property
    def llr_max(self) -> float:
        """The highest value that a score can reach."""
        return self.llr(1.0)


IDENTITY_MAP = ScoreMap((-1.0, 1.0), (-1.0, 1.0))


def weighted_excess(llr: float, weight: float, offset: float) -> float:
    """One member's share of the panel score: `a * max(0, z - c)`."""
    return weight * max(0.0, llr - offset)
