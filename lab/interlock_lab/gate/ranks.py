"""Calibration texts -> the groups by size that p-values are read from."""

from __future__ import annotations

from collections.abc import Sequence

from interlock_server.assurance.gate import Ranks

WINDOW_SIZES = (1, 2, 3, 5)
TEXT_SIZES = (0, 60, 120, 250, 500, 1000, 2000)
GROUP_MIN = 320
"""With fewer, no text could be strange enough for a third of an alpha of 0.01."""


def ranks(strangeness: Sequence[float], sizes: Sequence[int], starts: Sequence[int]) -> Ranks:
    """A group for each start; one that is too small joins the one before it, or, if it is the first, the one after it."""
    kept: list[int] = []
    groups: list[list[float]] = []
    for start, end in zip(starts, [*starts[1:], float("inf")], strict=True):
        found = [value for value, size in zip(strangeness, sizes, strict=True) if start <= size < end]
        if groups and (len(found) < GROUP_MIN or len(groups[-1]) < GROUP_MIN):
            groups[-1].extend(found)
        else:
            kept.append(start)
            groups.append(found)
    return Ranks(tuple(kept), tuple(tuple(sorted(group)) for group in groups))
