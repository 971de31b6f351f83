"""Arithmetic on samples: percentiles, medians with their spread, ratios. PURE.

A request without a verdict in time counts as slower than every request with one, so that refusing never improves a latency.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Figure = float | None


def percentile(answered: Sequence[float], share: float, failed: int = 0) -> Figure:
    """The nearest-rank percentile over the answered and, beyond all of them, the failed; None when it is a failed one."""
    total = len(answered) + failed
    rank = max(math.ceil(share * total), 1)
    return sorted(answered)[rank - 1] if rank <= len(answered) else None


def latencies(answered_ms: Sequence[float], failed: int = 0) -> dict[str, Any]:
    """p50 and p99 in milliseconds, and how many requests they are over."""
    figures = {f"p{share:.0%}".rstrip("%"): percentile(answered_ms, share, failed) for share in (0.5, 0.99)}
    return {**{f"{name}_ms": rounded(value) for name, value in figures.items()}, "n": len(answered_ms) + failed}


def ratio(value: Figure, of: Figure) -> Figure:
    """One over the other; None when either is unknown."""
    return None if value is None or not of else rounded(value / of)


def spread(values: Iterable[Figure]) -> dict[str, Any]:
    """Median, least and greatest over the repetitions; unknown as soon as one of them is."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    if not known or len(known) < len(listed):
        return {"median": None, "min": min(known, default=None), "max": max(known, default=None), "n": len(listed)}
    return {
        "median": rounded(statistics.median(known)),
        "min": rounded(min(known)),
        "max": rounded(max(known)),
        "n": len(known),
    }


def rounded(value: Figure) -> Figure:
    """Four significant digits: more would be noise."""
    return None if value is None else float(f"{value:.4g}")


def capacity_per_s(bare_per_s: float, generator_cores: float, cores: int) -> float:
    """What the bare models do on the cores that the load generator leaves to the server."""
    return bare_per_s * (cores - generator_cores) / cores
