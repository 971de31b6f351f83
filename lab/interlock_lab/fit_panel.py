"""The arithmetic of calibration: score maps, panel weights and dials from scores and labels. PURE: arrays in, values out.

All fits weigh harmful and benign rows equally, so that a fitted log-odds is a log-likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from interlock_server.decision.panel_score import logit
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Floats)

SLOPE_MIN = 0.05  # a member that knows nothing of a category still gets a strictly increasing map
CLEAR_QUANTILE = 0.999
KNOTS = (logit(0.0), logit(1.0))


@dataclass(frozen=True)
class MemberFit:
    """How one member counts in one category, as policy and manifest state it."""

    intercept: float
    slope: float
    offset: float
    weight: float
    clear_below: float

    def llr(self, logits: Number) -> Number:
        return self.intercept + self.slope * logits


@dataclass(frozen=True)
class CategoryFit:
    """The members' fits in one category, and the panel's score of every row."""

    members: dict[str, MemberFit]
    panel_scores: Floats


def panel_scores(members: dict[str, MemberFit], logits: dict[str, Floats]) -> Floats:
    """`G = sum a max(0, z - c)` per row, as `decide` computes it."""
    parts = [fit.weight * np.maximum(0.0, fit.llr(logits[name]) - fit.offset) for name, fit in members.items()]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def fit_category(
    logits: dict[str, Floats], harmful: npt.NDArray[np.bool_], row_weights: Floats
) -> dict[str, MemberFit]:
    """`logits` has each member's log-odds of the worst window, per row; rows weigh as given within their class."""
    weights = balanced(harmful, row_weights)
    maps = {name: fit_map(values, harmful, weights) for name, values in logits.items()}
    llrs = {name: maps[name][0] + maps[name][1] * values for name, values in logits.items()}
    offsets = {name: float(np.median(llr[~harmful])) for name, llr in llrs.items()}
    excess = np.stack([np.maximum(0.0, llrs[name] - offsets[name]) for name in llrs], axis=1)
    shares = fit_weights(excess, harmful, weights)
    return {
        name: MemberFit(*maps[name], offsets[name], float(share), clear_below(llrs[name][~harmful], maps[name]))
        for name, share in zip(llrs, shares, strict=True)
    }


def balanced(harmful: npt.NDArray[np.bool_], row_weights: Floats) -> Floats:
    """Weights that sum to one half over the harmful rows and over the benign ones."""
    weights = np.where(harmful, row_weights / row_weights[harmful].sum(), row_weights / row_weights[~harmful].sum())
    return np.asarray(weights / 2, dtype=np.float64)


def fit_map(logits: Floats, harmful: npt.NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Intercept and slope of the log-likelihood ratio as a line over the log-odds (Platt scaling)."""
    found = minimize(
        lambda ab: _log_loss(ab[0] + ab[1] * logits, harmful, weights),
        x0=np.array([0.0, 1.0]),
        bounds=[(None, None), (SLOPE_MIN, None)],
        method="L-BFGS-B",
    )
    return float(found.x[0]), float(found.x[1])


def fit_weights(excess: Floats, harmful: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Weights of 0 or more for each member's excess, by logistic regression with a free intercept."""
    members = excess.shape[1]
    found = minimize(
        lambda parameters: _log_loss(parameters[0] + excess @ parameters[1:], harmful, weights),
        x0=np.array([-1.0] + [1.0 / members] * members),
        bounds=[(None, None)] + [(0.0, None)] * members,
        method="L-BFGS-B",
    )
    return np.asarray(found.x[1:], dtype=np.float64)


def clear_below(benign_llr: Floats, line: tuple[float, float]) -> float:
    """Near the benign 99.9 % quantile, but inside of what the map can reach on both sides, so that it can be missed."""
    low, high = (line[0] + line[1] * knot for knot in KNOTS)
    return float(np.clip(np.quantile(benign_llr, CLEAR_QUANTILE), low + 0.5, high - 0.01))


def dial(panel_scores_benign: Floats, share: float) -> float:
    """The panel score that the given share of the benign rows reaches or exceeds."""
    return float(np.quantile(panel_scores_benign, 1 - share, method="higher"))


def share_of_each(panel_scores_benign: Sequence[Floats], together: float) -> float:
    """The share that each category may withhold so that all of them withhold `together`, of the same benign rows."""
    tails = [1 - (np.searchsorted(np.sort(scores), scores) / len(scores)) for scores in panel_scores_benign]
    return float(np.quantile(np.min(tails, axis=0), together, method="lower"))


def _log_loss(log_odds: Floats, harmful: npt.NDArray[np.bool_], weights: Floats) -> float:
    """Against Platt's targets, just short of 1 and 0: n examples cannot show odds of much more than n to one."""
    harmful_count, benign_count = harmful.sum(), (~harmful).sum()
    targets = np.where(harmful, (harmful_count + 1) / (harmful_count + 2), 1 / (benign_count + 2))
    return float(weights @ (np.logaddexp(0.0, log_odds) - targets * log_odds))
