"""How long work will take: seconds = base + slope * size, learned from what runs took. Pure arithmetic; garbage is ignored.

The line is a least-squares fit in which old runs count less and less. Sizes are tokens of a run, or bytes of a text.
"""

import math

_KEEP = 0.98  # what a run still counts after the next one: the last fifty runs or so make the line
_FIT_EVERY = 8
_OUTLIER = 3.0  # a run that took so many times what was expected is one hiccup, not the new speed


class CostModel:
    """A line through the runs of one member. With nothing known it predicts 0, which admits."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._learned = 0
        self.base_s = 0.0
        self.slope_s = 0.0

    def predict_s(self, size: float) -> float:
        """Predicted seconds for that size; never negative."""
        return self.base_s + self.slope_s * max(size, 0.0)

    def learn(self, size: float, took_s: float) -> None:
        """Takes a finished run into account."""
        if not (math.isfinite(took_s) and math.isfinite(size) and took_s > 0 and size >= 1):
            return
        if self._weight and took_s > _OUTLIER * (expected_s := self.predict_s(size)):
            took_s = _OUTLIER * expected_s
        keep = _KEEP
        self._weight = keep * self._weight + 1
        self._x = keep * self._x + size
        self._y = keep * self._y + took_s
        self._xx = keep * self._xx + size * size
        self._xy = keep * self._xy + size * took_s
        self._learned += 1
        if self._learned < _FIT_EVERY or self._learned % _FIT_EVERY == 0:
            self._fit()

    def _fit(self) -> None:
        """The line of least squares with neither base nor slope below 0; through the origin while all sizes are alike."""
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        if variance <= 1e-3 * mean_x * mean_x:
            self.base_s, self.slope_s = 0.0, mean_y / mean_x
            return
        slope_s = (self._xy / self._weight - mean_x * mean_y) / variance
        slope_s = min(max(slope_s, 0.0), mean_y / mean_x)
        self.base_s, self.slope_s = max(mean_y - slope_s * mean_x, 0.0), slope_s
