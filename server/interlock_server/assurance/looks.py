"""What a bound on misses becomes when many candidates are looked at and one is chosen."""

from collections.abc import Iterable


def bound_over_looks(miss_rate_upper_bounds: Iterable[float], looks: int) -> float | None:
    """An upper bound on the probability that any of `looks` harmful candidates is released: min(1, looks * max_k U_k).

    A union over the misses, so that it holds however candidates depend on each other. None when nothing below 1 can be said,
    also because there is no bound to begin with. Raises ValueError unless `looks` is at least 1.
    """
    if looks < 1:
        raise ValueError("looks must be at least 1")
    worst = max(miss_rate_upper_bounds, default=1.0)
    return looks * worst if 0 <= looks * worst < 1 else None
