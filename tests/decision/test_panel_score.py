"""Score maps: increasing in every score, through their knots, and finite at both ends of what a score can be."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.decision.panel_score import IDENTITY_MAP, SCORE_MAX, SCORE_MIN, ScoreMap, logit, weighted_excess

from .strategies import EXAMPLES, any_map, valid_scores

KNOTS = ScoreMap((-2.0, 0.0, 3.0), (-5.0, 1.0, 1.5))


def score(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


@pytest.mark.parametrize(("log_odds", "llr"), [(-2.0, -5.0), (0.0, 1.0), (3.0, 1.5)])
def test_a_map_goes_through_its_knots(log_odds: float, llr: float):
    """A knot is a promise."""
    assert llr == pytest.approx(KNOTS.llr(score(log_odds)))


@pytest.mark.parametrize(("log_odds", "llr"), [(-1.0, -2.0), (1.5, 1.25)])
def test_a_map_is_linear_between_its_knots(log_odds: float, llr: float):
    """Half way in log-odds is half way in evidence."""
    assert llr == pytest.approx(KNOTS.llr(score(log_odds)))


@pytest.mark.parametrize(("log_odds", "llr"), [(-4.0, -11.0), (6.0, 2.0)])
def test_a_map_continues_beyond_its_ends(log_odds: float, llr: float):
    """The first and last slopes go on, so that a surer score stays more evidence."""
    assert llr == pytest.approx(KNOTS.llr(score(log_odds)))


def test_scores_are_clamped():
    """No score is infinite evidence, and the ends are symmetric."""
    assert (logit(SCORE_MIN), logit(SCORE_MAX)) == (logit(0.0), logit(1.0))
    assert -logit(0.0) == pytest.approx(logit(1.0))


def test_the_ends_of_a_map_are_those_of_its_scores():
    """What a policy is checked against is what `decide` computes."""
    assert (KNOTS.llr(0.0), KNOTS.llr(1.0)) == (KNOTS.llr_min, KNOTS.llr_max)


def test_the_identity_map_is_the_log_odds():
    """Evidence of a member without a map is its log-odds."""
    assert logit(0.2) == pytest.approx(IDENTITY_MAP.llr(0.2))


@EXAMPLES
@given(any_map())
def test_a_map_is_strictly_increasing(sample: ScoreMap):
    """Over scores that differ visibly, more score is more evidence."""
    llrs = [sample.llr(place / 50) for place in range(51)]

    assert all(low < high for low, high in pairwise(llrs)) or sample.llr_max - sample.llr_min < 1e-6


@EXAMPLES
@given(any_map(), valid_scores, valid_scores)
def test_a_map_never_steps_down(sample: ScoreMap, one: float, other: float):
    """For any two scores, however close."""
    assert sample.llr(min(one, other)) <= sample.llr(max(one, other))


@pytest.mark.parametrize(
    ("logits", "llrs", "score"),
    [
        ((-1.9, 2.3, 3.2), (-3.0, -0.3, 2.5), 0.5498339973124778),  # half way between two knots
        ((-4.0, 0.8, 1.8), (-0.1, 1.3, 2.2), 0.16798161486607552),
        ((-2.4, 0.8, 2.7), (-2.6, 2.8, 3.5), 0.31002551887238755),
        ((-2.0, -0.2, 3.4), (-3.9, -0.7, -0.2), 0.4501660026875221),  # where two segments meet
        ((-3.4, -0.8, 2.8), (-3.9, 2.3, 3.4), 0.3100255188723875),
        ((-1.8, -0.4, 0.8), (-3.6, 0.1, 1.1), 0.40131233988754794),
    ],
)
def test_a_map_never_steps_down_by_rounding(logits: tuple[float, ...], llrs: tuple[float, ...], score: float):
    """Places where a straightforward formula maps the next higher score to less evidence."""
    sample = ScoreMap(logits, llrs)

    assert sample.llr(score) <= sample.llr(math.nextafter(score, 1))


@EXAMPLES
@given(any_map(), st.integers(0, 2), st.sampled_from([0.0, 0.5]))
def test_a_map_never_steps_down_near_a_knot(sample: ScoreMap, segment: int, share: float):
    """The next score is never less evidence, at a knot and half way between two."""
    left, right = list(pairwise(sample.logits))[segment % (len(sample.logits) - 1)]
    here = score(max(min(left + share * (right - left), 14), -14))
    near = [here * (1 + step * 2**-53) for step in range(-12, 13)]
    llrs = [sample.llr(min(place, 1.0)) for place in near]

    assert sorted(llrs) == llrs


@pytest.mark.parametrize(
    ("logits", "llrs", "message"),
    [
        ((0.0,), (0.0,), "a score map needs two or more knots, as many logits as llrs"),
        ((0.0, 1.0), (0.0, 1.0, 2.0), "a score map needs two or more knots, as many logits as llrs"),
        ((1.0, 0.0), (0.0, 1.0), "logits must be strictly increasing"),
        ((0.0, 1.0), (1.0, 1.0), "llrs must be strictly increasing"),
        ((0.0, math.inf), (0.0, 1.0), "logits must be from -1,000,000 to 1,000,000"),
        ((0.0, 1.0), (math.nan, 1.0), "llrs must be from -1,000,000 to 1,000,000"),
        ((0.0, 1.0), (-1e308, 1e308), "llrs must be from -1,000,000 to 1,000,000"),
        ((0.0, 5e-324), (0.0, 1.0), "llrs must stay from -1,000,000 to 1,000,000 for scores of 0 and 1 too"),
    ],
)
def test_an_impossible_map_is_refused(logits: tuple[float, ...], llrs: tuple[float, ...], message: str):
    """A map that exists is increasing and finite everywhere."""
    with pytest.raises(ValueError, match=message) as caught:
        ScoreMap(logits, llrs)

    assert message == str(caught.value)


@pytest.mark.parametrize(("llr", "share"), [(-4.0, 0.0), (-3.0, 0.0), (-1.0, 4.0)])
def test_only_the_excess_counts(llr: float, share: float):
    """Evidence below the offset takes nothing away from others."""
    assert share == weighted_excess(llr, weight=2.0, offset=-3.0)
