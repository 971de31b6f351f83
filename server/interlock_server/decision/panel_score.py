"""From scores to nats: frozen, strictly increasing maps, and the panel's weighted sum. Everything is monotone in every score."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

VALUE_MAX = 1e6
"""The limit on everything in nats, so that no sum or product of them overflows."""
SCORE_MIN = 1e-6
SCORE_MAX = 1 - SCORE_MIN


def logit(score: float) -> float:
    """Log-odds of a score in [0, 1], clamped to [1e-6, 1 - 1e-6]."""
    clamped = SCORE_MIN if score < SCORE_MIN else SCORE_MAX if score > SCORE_MAX else score
    return math.log(clamped / (1 - clamped))


@dataclass(frozen=True)
class ScoreMap:
    """A log-likelihood ratio as a piecewise linear, strictly increasing function of the score's log-odds.

    The first and last segments continue beyond their ends. Raises ValueError unless both coordinates are strictly
    increasing, with two knots or more, and everything stays within VALUE_MAX.
    """

    logits: tuple[float, ...]
    llrs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.logits) != len(self.llrs) or len(self.logits) < 2:
            raise ValueError("a score map needs two or more knots, as many logits as llrs")
        for name, values in (("logits", self.logits), ("llrs", self.llrs)):
            if not all(-VALUE_MAX <= value <= VALUE_MAX for value in values):
                raise ValueError(f"{name} must be from {-VALUE_MAX:,.0f} to {VALUE_MAX:,.0f}")
            if any(left >= right for left, right in pairwise(values)):
                raise ValueError(f"{name} must be strictly increasing")
        if not (self.llr_min >= -VALUE_MAX and self.llr_max <= VALUE_MAX):
            raise ValueError(f"llrs must stay from {-VALUE_MAX:,.0f} to {VALUE_MAX:,.0f} for scores of 0 and 1 too")

    def llr(self, score: float) -> float:
        """The evidence z for harm in nats; `score` must be in [0, 1]."""
        x = logit(score)
        last = len(self.logits) - 2
        segment = bisect_right(self.logits, x, 1, last + 1) - 1
        left, right = self.logits[segment], self.logits[segment + 1]
        low, high = self.llrs[segment], self.llrs[segment + 1]
        llr = low + (x - left) * (high - low) / (right - left)
        # Rounding must not lift the end of a segment above the start of the next one: the map would step down there.
        return llr if segment == last or llr <= high else high

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
    return weight * (llr - offset) if llr > offset else 0.0
