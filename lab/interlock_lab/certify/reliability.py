"""Whether a nat is a nat: each member's evidence against how often such text is harmful, on units that nothing was fitted on.

With harmful and benign units weighing the same, the log-odds of harm of a calibrated member rise by one per nat: slope 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from interlock_server.decision.policy import Policy
from scipy.optimize import minimize
from scipy.special import expit

from interlock_lab.certify.dials import Set
from interlock_lab.certify.statistic import verdicts
from interlock_lab.fit_panel import balanced
from interlock_lab.scores import Floats

BINS = 8
NEAR = 3.0
"""Nats to either side of `clear_below`: where a slope decides who is released."""
EACH_MIN = 10
SLOPE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Bin:
    """Units with about the same evidence: what it says, and how often it was so."""

    stated: float
    seen: float
    n: int


@dataclass(frozen=True)
class Reliability:
    """One member in one category; without a slope where too few units lie near its threshold."""

    member: str
    category: str
    bins: Sequence[Bin]
    n: int
    slope: float | None = None
    low: float = 0.0
    high: float = 0.0

    @property
    def calibrated(self) -> bool:
        """The slope is 1, within a tenth."""
        return self.slope is not None and abs(self.slope - 1) <= SLOPE_TOLERANCE


def reliabilities(judged: Set, policy: Policy) -> list[Reliability]:
    """Of every required member of the default profile in every category."""
    found = verdicts(judged.evidence, policy, policy.default_profile)
    results = [{result.category: result for result in verdict.categories} for verdict in found]
    rules = policy.profiles[policy.default_profile].categories
    measured = []
    for category, rule in rules.items():
        for member, member_rule in rule.members.items():
            pairs = [
                (result[category].llr[member], unit.labels[category])
                for unit, result in zip(judged.units, results, strict=True)
                if unit.clear and category in unit.labels and member in result[category].llr
            ]
            measured.append(_measured(member, category, pairs, member_rule.clear_below))
    return measured


def margins_comparable(measured: Iterable[Reliability]) -> bool:
    """Whether every member's nats are nats."""
    return all(item.calibrated for item in measured)


def slope(llr: Floats, harmful: Any) -> tuple[float, float, float]:
    """Of the log-odds of harm over the evidence, with its 95 % interval (sandwich: the weights are no counts)."""
    weights = balanced(harmful, np.ones(len(llr))) * len(llr)
    design = np.stack([np.ones(len(llr)), llr], axis=1)

    def loss(line: Floats) -> float:
        odds = design @ line
        return float(weights @ (np.logaddexp(0, odds) - harmful * odds))

    line = minimize(loss, np.array([0.0, 1.0]), method="BFGS").x
    stated = expit(design @ line)
    bread = np.linalg.pinv((design * (weights * stated * (1 - stated))[:, None]).T @ design)
    scores = design * (weights * (harmful - stated))[:, None]
    deviation = float(np.sqrt((bread @ scores.T @ scores @ bread)[1, 1]))
    return float(line[1]), float(line[1] - 1.96 * deviation), float(line[1] + 1.96 * deviation)


def _measured(member: str, category: str, pairs: Sequence[tuple[float, int]], threshold: float) -> Reliability:
    llr = np.array([value for value, _ in pairs])
    harmful = np.array([label == 1 for _, label in pairs], bool)
    near = np.abs(llr - threshold) <= NEAR
    n = int(near.sum())
    if not pairs or min(harmful.sum(), (~harmful).sum()) < EACH_MIN:
        return Reliability(member, category, (), n)
    bins = tuple(_bins(llr, harmful))
    if min(harmful[near].sum(), (~harmful)[near].sum()) < EACH_MIN:
        return Reliability(member, category, bins, n)
    return Reliability(member, category, bins, n, *slope(llr[near], harmful[near]))


def _bins(llr: Floats, harmful: Any) -> Iterable[Bin]:
    """As many units in each; probabilities with harmful and benign units weighing the same."""
    weights = balanced(harmful, np.ones(len(llr)))
    for places in np.array_split(np.argsort(llr), BINS):
        mine = weights[places]
        stated = float(expit(llr[places]) @ mine / mine.sum())
        yield Bin(stated, float(mine @ harmful[places] / mine.sum()), len(places))
