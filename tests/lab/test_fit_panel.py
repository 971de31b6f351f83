"""The arithmetic of calibration, on scores whose truth is known."""

import numpy as np
import pytest
from interlock_lab.fit_panel import KNOTS, balanced, dial, fit_category, fit_map, panel_scores, share_of_each
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence, MemberEvidence
from interlock_server.decision.panel_score import ScoreMap, logit
from interlock_server.decision.policy import CategoryRule, MemberRule, Policy, Profile

ROWS = 4_000
RANDOM = np.random.default_rng(7)
HARMFUL = RANDOM.random(ROWS) < 0.2
ONES = np.ones(ROWS)
SHARP = np.where(HARMFUL, 2.0, -2.0) + RANDOM.normal(size=ROWS)
NOISE = RANDOM.normal(size=ROWS)


def test_a_fitted_map_is_a_log_likelihood_ratio() -> None:
    """Of two normal densities at +2 and -2 the ratio is 4 x, whatever the share of harm."""
    intercept, slope = fit_map(SHARP, HARMFUL, balanced(HARMFUL, ONES))

    assert 4.0 == pytest.approx(slope, abs=0.4)
    assert 0.0 == pytest.approx(intercept, abs=0.3)


def test_a_useless_member_gets_a_rising_map_and_little_weight() -> None:
    """Noise cannot turn a map around, and counts for next to nothing beside a member that knows."""
    members = fit_category({"sharp": SHARP, "noise": NOISE}, HARMFUL, ONES)

    assert members["noise"].slope > 0
    assert members["noise"].weight * members["noise"].slope < 0.1 * members["sharp"].weight * members["sharp"].slope


def test_weights_are_never_negative() -> None:
    """A member that is right in reverse gets no vote against the others."""
    members = fit_category({"sharp": SHARP, "reversed": -SHARP}, HARMFUL, ONES)

    assert all(member.weight >= 0 for member in members.values())


def test_few_examples_show_no_great_odds() -> None:
    """Thirty of each, told apart without a mistake, are not proof of a million to one."""
    harmful = np.arange(60) < 30
    intercept, slope = fit_map(np.where(harmful, 5.0, -5.0), harmful, balanced(harmful, np.ones(60)))

    assert 31.0 == pytest.approx(np.exp(intercept + slope * 5.0), rel=0.05)


def test_clear_is_where_nearly_all_benign_rows_are() -> None:
    """About one benign row in a thousand is not clear."""
    member = fit_category({"sharp": SHARP, "noise": NOISE}, HARMFUL, ONES)["sharp"]

    share = np.mean(member.llr(SHARP[~HARMFUL]) >= member.clear_below)
    assert 0.0 < share <= 0.002


def test_clear_can_be_missed_even_if_no_benign_row_comes_near() -> None:
    """A threshold beyond every reachable score would switch the member off."""
    member = fit_category({"a": SHARP * 10, "b": SHARP}, HARMFUL, ONES)["a"]

    assert member.llr(KNOTS[0]) < member.clear_below < member.llr(KNOTS[1])


def test_a_dial_withholds_its_share() -> None:
    """Of the benign rows that it was set on, at most the given share, and nearly that, reaches the dial."""
    scores = RANDOM.normal(size=1_000)

    assert 0.03 == pytest.approx(np.mean(scores >= dial(scores, 0.03)), abs=0.001)


def test_the_fit_computes_the_panel_score_as_decide_does() -> None:
    """The lab's arrays and the server's decision agree to the last digits that matter."""
    members = fit_category({"sharp": SHARP, "noise": NOISE}, HARMFUL, ONES)
    maps = {name: ScoreMap(KNOTS, (m.llr(KNOTS[0]), m.llr(KNOTS[1]))) for name, m in members.items()}
    rules = {n: MemberRule(m.weight, m.offset, m.clear_below, maps[n]) for n, m in members.items()}
    profile = Profile({"harm": CategoryRule(50.0, 60.0, rules)})
    policy = Policy("test", {"only": profile}, "only", kinds={"sharp": "a", "noise": "b"})
    scores = {"sharp": 0.9, "noise": 0.7}
    evidence = Evidence(tuple(MemberEvidence(n, {"harm": s}, None, True) for n, s in scores.items()))

    expected = panel_scores(members, {name: np.array([logit(score)]) for name, score in scores.items()})[0]
    assert expected == pytest.approx(decide(evidence, policy).categories[0].panel_score)


def test_categories_share_what_may_be_withheld() -> None:
    """Each category gets the same share, such that the rows that any of them withholds are as many as allowed."""
    scores = [RANDOM.normal(size=1_000) for _ in range(4)]
    share = share_of_each(scores, 0.10)
    withheld = np.any([values >= dial(values, share) for values in scores], axis=0)
    assert withheld.mean() == pytest.approx(0.10, abs=0.002)
    assert 0.025 <= share <= 0.03
