"""Bounds on a miss rate that hold for any distribution: how often harmful units may slip through, given how often they did.

Everything comes from P(Bin(n, p) <= m), summed term by term. Bounds are rounded up: none is better than the data allows.
"""

import math
from collections.abc import Iterator
from itertools import accumulate, islice, takewhile

DELTA_MAX = 0.5
"""Above it a bound may lie below the very share that was seen."""
_PARTS = 10**9  # bounds are multiples of one of them
_NEAR = 1e-12


def clopper_pearson_upper(misses: int, n: int, delta: float) -> float:
    """The smallest rate at which `misses` or fewer of n units are seen with a probability of at most delta.

    With confidence 1 - delta no less than the miss rate of a rule that was fixed before anybody looked at these units:
    BetaInv(1 - delta; misses + 1, n - misses). Raises ValueError for numbers that make no sense.
    """
    _check(n, delta)
    if not 0 <= misses <= n:
        raise ValueError("misses must be from 0 to n")
    if misses == n:
        return 1.0
    low, high = misses / n, 1.0
    while high - low > _NEAR:
        middle = (low + high) / 2
        if math.fsum(islice(_binomial(n, middle), misses + 1)) <= delta:
            high = middle
        else:
            low = middle
    return math.ceil(high * _PARTS) / _PARTS


def bound_at_rank(rank: int, n: int, delta: float) -> float:
    """The bound on the miss rate of the dial T_(rank + 1): the statistic of the unit after the `rank` lowest of n.

    It holds although the dial was chosen on these units: the mass below an order statistic is Beta(rank + 1, n - rank) at
    most, whatever the distribution.
    """
    if rank >= n:
        raise ValueError("rank must be below n: no dial lies above all units")
    return clopper_pearson_upper(rank, n, delta)


def order_statistic_rank(n: int, alpha: float, delta: float) -> int | None:
    """How many of n harmful units a dial may miss: the largest m with P(Bin(n, alpha) <= m) <= delta.

    The miss rate of the dial T_(m + 1), which releases only what is below it, exceeds alpha with a probability of at most
    delta. None when n is too small even for m = 0; `units_needed` says by how much.
    """
    _check(n, delta)
    _check_alpha(alpha)
    fitting = sum(1 for _ in takewhile(lambda seen: seen <= delta, accumulate(_binomial(n, alpha))))
    return fitting - 1 if fitting else None


def units_needed(alpha: float, delta: float) -> int:
    """The smallest n with which a dial can be certified at alpha: the first with (1 - alpha) ** n <= delta."""
    _check(1, delta)
    _check_alpha(alpha)
    n = max(math.floor(math.log(delta) / math.log1p(-alpha)), 1)
    while order_statistic_rank(n, alpha, delta) is None:
        n += 1
    return n


def _binomial(n: int, p: float) -> Iterator[float]:
    """P(Bin(n, p) = k) for k = 0, 1, ...; through logarithms, since the factors of one term may be 1e300 apart."""
    log_p, log_q, ways = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    for k in range(n + 1):
        log_term = ways - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q
        yield math.exp(log_term)


def _check(n: int, delta: float) -> None:
    if n < 0:
        raise ValueError("n must be at least 0")
    if not 0 < delta <= DELTA_MAX:
        raise ValueError(f"delta must be above 0 and at most {DELTA_MAX}")


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError("alpha must be between 0 and 1")
