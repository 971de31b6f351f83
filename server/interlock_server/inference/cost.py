"""How long a member will take: seconds per byte, learned from what it took. Pure arithmetic; garbage is ignored."""

import math

BYTES_MIN = 64  # short texts cost about as much as this
_LEARNING_RATE = 0.1


class CostModel:
    """An exponentially weighted mean of seconds per byte."""

    def __init__(self) -> None:
        self._seconds_per_byte: float | None = None

    def predict_s(self, size_bytes: int) -> float:
        """Predicted seconds for a completion of that size; 0 while nothing is known, which admits."""
        return (self._seconds_per_byte or 0.0) * max(size_bytes, BYTES_MIN)

    def learn(self, size_bytes: int, took_s: float) -> None:
        """Takes a finished run into account."""
        if not (math.isfinite(took_s) and took_s > 0):
            return
        rate = took_s / max(size_bytes, BYTES_MIN)
        known = self._seconds_per_byte
        self._seconds_per_byte = rate if known is None else known + _LEARNING_RATE * (rate - known)
