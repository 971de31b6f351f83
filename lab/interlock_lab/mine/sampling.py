"""Which candidates are drawn, and with which probability each could have been. PURE: chance comes from hashes of names, so that
the same log gives the same queue.

Of every group one member is drawn at most. First comes the random stratum: each group with the same probability, and any of
its members alike. Of the other groups each is mined with a probability in proportion to its largest weight, up to 1, and of
its members one in proportion to theirs. So every member has a known probability above 0, and Horvitz-Thompson estimates over
both strata together are unbiased, whatever the weights are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interlock_lab.training.rows import hash_unit

Stratum = Literal["mined", "random"]


@dataclass(frozen=True)
class Weighted:
    """One who may be drawn; the weight is above 0."""

    name: str
    group: int
    weight: float


@dataclass(frozen=True)
class Drawn:
    """The index of one who was drawn, in which stratum, and how likely it was in either."""

    index: int
    stratum: Stratum
    propensity: float


def draw(everyone: Sequence[Weighted], count: int, random_share: float, salt: str) -> list[Drawn]:
    """About `count` of them, `random_share` of those at random, in an order that says nothing about either."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(everyone):
        groups[one.group].append(index)
    members = list(groups.values())
    share = min(1.0, random_share * count / max(len(members), 1))
    largest = np.array([max(everyone[index].weight for index in group) for group in members])
    mined = probabilities(largest, (1 - random_share) * count / (1 - share) if share < 1 else 0.0)
    found = []
    for group, chance in zip(members, mined, strict=True):
        drawn = _of_group(everyone, group, share, float(chance), salt)
        if drawn is not None:
            found.append(drawn)
    return sorted(found, key=lambda one: hash_unit(f"order:{salt}:{everyone[one.index].name}"))


def probabilities(weights: np.ndarray, expected: float) -> np.ndarray:
    """In proportion to the weights and at most 1, so that their sum is `expected`, or all 1 where it cannot be."""
    if expected >= len(weights):
        return np.ones(len(weights))
    certain = np.zeros(len(weights), dtype=bool)
    while True:
        rest = weights[~certain].sum()
        found = np.where(certain, 1.0, weights * ((expected - certain.sum()) / rest))
        beyond = (found >= 1) & ~certain
        if not beyond.any():
            return np.asarray(found)
        certain |= beyond


def _of_group(
    everyone: Sequence[Weighted], group: Sequence[int], share: float, mined: float, salt: str
) -> Drawn | None:
    """The one member that is drawn, if any."""
    name = min(everyone[index].name for index in group)
    total = math.fsum(everyone[index].weight for index in group)

    def at_most_one(index: int) -> float:
        return share / len(group) + (1 - share) * mined * everyone[index].weight / total

    if hash_unit(f"random:{salt}:{name}") < share:
        index = min(group, key=lambda index: hash_unit(f"one:{salt}:{everyone[index].name}"))
        return Drawn(index, "random", at_most_one(index))
    if hash_unit(f"mined:{salt}:{name}") < mined:
        # The first of exponential clocks that run as fast as the weights.
        index = min(group, key=lambda index: _rings(everyone[index], salt))
        return Drawn(index, "mined", at_most_one(index))
    return None


def _rings(one: Weighted, salt: str) -> float:
    return -math.log1p(-hash_unit(f"clock:{salt}:{one.name}")) / one.weight
