"""The gate for the unknown: how rare among texts like those the ensemble was made for is a text that is at least so strange.

A conformal p-value: (1 + how many calibration texts are at least as strange) / (1 + how many there are). Calibration texts
were shown to no model, and are compared with texts of their own size only. What is not a number has no p-value.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHECKS = ("distance", "letters", "words")


@dataclass(frozen=True)
class Ranks:
    """One check: the strangeness of the calibration texts, sorted, by size. `sizes` are where the groups begin."""

    sizes: tuple[int, ...]
    groups: tuple[Sequence[float], ...]

    def __post_init__(self) -> None:
        sizes, groups = self.sizes, self.groups
        if not groups or len(sizes) != len(groups) or list(sizes) != sorted(set(sizes)):
            raise ValueError("ranks need a group for each size, and sizes that increase")
        if not all(len(group) and all(map(math.isfinite, group)) and list(group) == sorted(group) for group in groups):
            raise ValueError("ranks need groups of finite numbers that do not decrease")

    def pvalue(self, strangeness: float, size: int) -> float | None:
        """Among the calibration texts of the size; a text that is smaller than all is compared with the smallest."""
        if not math.isfinite(strangeness):
            return None
        group = self.groups[max(bisect_right(self.sizes, size) - 1, 0)]
        return (1 + len(group) - bisect_left(group, strangeness)) / (1 + len(group))


@dataclass(frozen=True)
class Gate:
    """All checks. `member` is the one whose hidden states are compared; `surprise` and `ordinary` are of letters."""

    member: str
    ranks: Mapping[str, Ranks]
    surprise: bytes
    ordinary: float

    def pvalue(self, found: Mapping[str, tuple[float, int] | None]) -> float | None:
        """Check -> strangeness and size, as one p-value, valid whatever the checks have to do with each other; None as
        soon as one of them is missing.
        """
        pvalues = [rank.pvalue(*item) for name, rank in self.ranks.items() if (item := found.get(name)) is not None]
        known = [pvalue for pvalue in pvalues if pvalue is not None]
        return min(1.0, len(CHECKS) * min(known)) if len(known) == len(CHECKS) else None
