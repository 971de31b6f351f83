"""From scores and labels to what a bundle states of its panel: score maps, members' rules and dials. Any members, any categories.

A category is fitted on the rows whose label in it is known, over the members that cover it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from interlock_server.decision.panel_score import logit

from interlock_lab.examples import Truths
from interlock_lab.fit_panel import KNOTS, CategoryFit, MemberFit, dial, fit_category, panel_scores
from interlock_lab.scores import Floats
from interlock_lab.training.rows import BENIGN_TO, HARMFUL_FROM

IDENTITY = {"logits": list(KNOTS), "llrs": list(KNOTS)}  # of a member that nothing was fitted for
TOLERANCE = 0.05
HARMFUL_ABOVE_BENIGN = 0.995
PROFILES = ("permissive", "balanced", "cautious", "strict")
ORDINARY_SHARE = 0.20
"""Of ordinary benign rows, what all categories together may withhold where no miss rate is promised yet."""


def fit(scores: Mapping[str, Floats], label: Floats, weights: Floats) -> CategoryFit:
    """`scores` has P(harm) per member and row, `label` is NaN where unknown; panel scores come back for all rows."""
    known = (label <= BENIGN_TO) | (label > HARMFUL_FROM)
    logits = {name: np.vectorize(logit)(values) for name, values in scores.items()}
    members = fit_category({n: x[known] for n, x in logits.items()}, label[known] > HARMFUL_FROM, weights[known])
    return CategoryFit(members, panel_scores(members, logits))


def score_map(member: MemberFit) -> dict[str, list[float]]:
    """The line over the log-odds, as two knots at the ends of what a score can be."""
    return {"logits": list(KNOTS), "llrs": [member.llr(knot) for knot in KNOTS]}


def category_rules(
    fitted: CategoryFit, ordinary: Truths, benign: Truths, share: float, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """The rules of one category: a dial that the given share of ordinary benign rows reaches."""
    release_below = max(dial(fitted.panel_scores[ordinary], share), 2 * tolerance)
    harmful_at = max(float(np.quantile(fitted.panel_scores[benign], HARMFUL_ABOVE_BENIGN)), release_below)
    members = {
        name: {"weight": round(m.weight, 4), "offset": round(m.offset, 4), "clear_below": round(m.clear_below, 4)}
        for name, m in fitted.members.items()
    }
    return {"release_below": round(release_below, 4), "harmful_at": round(harmful_at, 4), "members": members}
