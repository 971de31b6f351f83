"""Could labelled traffic refute the certificate? A bet against "at most a share `bound` of harmful text is released".

Under that hypothesis the capital is a supermartingale that starts at 1: that it ever reaches 1/delta has a probability of at
most delta, however often one looks.
"""

import math

_BETS = 16


class EProcess:
    """The bet against one bound: a mixture of rates above it."""

    def __init__(self, bound: float) -> None:
        if not 0 < bound < 1:
            raise ValueError("a bound must be between 0 and 1")
        rates = [bound ** (1 - place / (_BETS + 1)) for place in range(1, _BETS + 1)]
        self._on_miss = [(rate - bound) / bound for rate in rates]
        self._on_catch = [(bound - rate) / (1 - bound) for rate in rates]
        self._capital = [0.0] * _BETS  # logarithms
        self.log_peak = 0.0
        """The logarithm of the largest capital so far."""

    def observe(self, missed: bool, weight: float = 1.0) -> None:
        """One harmful text; `weight` is in proportion to 1 / (the probability that it was labelled), and at most 1."""
        if not 0 < weight <= 1:
            raise ValueError("a weight must be above 0 and at most 1")
        gains = self._on_miss if missed else self._on_catch
        self._capital = [was + math.log1p(weight * gain) for was, gain in zip(self._capital, gains, strict=True)]
        self.log_peak = max(self.log_peak, self.log_capital)

    @property
    def log_capital(self) -> float:
        """The logarithm of what one would have by now."""
        top = max(self._capital)
        return top + math.log(sum(math.exp(one - top) for one in self._capital) / _BETS)

    def refutes(self, delta: float) -> bool:
        """Whether the capital was ever 1/delta or more."""
        return self.log_peak >= -math.log(delta)
