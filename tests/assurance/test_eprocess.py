"""The bet against a bound: it loses when the bound is true, however often one looks, and wins when it is not."""

import math
import random
from itertools import product

import pytest
from interlock_server.assurance.eprocess import EProcess

DELTA = 0.05


def bet(bound: float, outcomes: list[bool]) -> EProcess:
    process = EProcess(bound)
    for missed in outcomes:
        process.observe(missed)
    return process


@pytest.mark.parametrize(("bound", "weights"), [(0.1, (1.0,) * 8), (0.5, (0.3, 1.0, 0.01, 0.7))])
def test_the_capital_is_expected_to_stay_at_one(bound: float, weights: tuple[float, ...]):
    """Exactly, over every course that events can take, when misses are as frequent as the bound."""
    expected = 0.0
    for course in product((False, True), repeat=len(weights)):
        process = EProcess(bound)
        for missed, weight in zip(course, weights, strict=True):
            process.observe(missed, weight)
        expected += math.prod(bound if missed else 1 - bound for missed in course) * math.exp(process.log_capital)

    assert 1 == pytest.approx(expected)


def test_a_true_bound_is_seldom_refuted():
    """At the bound itself, looking after each of 400 texts, in no more than delta of 300 repetitions."""
    chance = random.Random(1)
    refuted = sum(bet(0.1, [chance.random() < 0.1 for _ in range(400)]).refutes(DELTA) for _ in range(300))

    assert refuted <= 300 * DELTA + 3 * math.sqrt(300 * DELTA)


@pytest.mark.parametrize(("bound", "rate", "texts"), [(0.1, 0.3, 80), (0.01, 0.05, 300), (0.1, 1.0, 4)])
def test_a_false_bound_is_refuted(bound: float, rate: float, texts: int):
    """In the median of repetitions within so many harmful texts."""
    chance = random.Random(2)
    refuted = sum(bet(bound, [chance.random() < rate for _ in range(texts)]).refutes(DELTA) for _ in range(60))

    assert refuted > 30


def test_catches_alone_refute_nothing():
    """Nor can they make up for what was refuted before."""
    assert not bet(0.1, [False] * 500).refutes(0.5)
    assert bet(0.1, [True] * 6 + [False] * 500).refutes(DELTA)


def test_weights_undo_a_choice_that_depends_on_the_outcome():
    """Misses are drawn ten times as often as catches; without weights a true bound would fall."""
    chance = random.Random(3)
    weighted, plain = 0, 0
    for _ in range(60):
        with_weights, without = EProcess(0.1), EProcess(0.1)
        for _ in range(1_000):
            missed = chance.random() < 0.1
            propensity = 1.0 if missed else 0.1
            if chance.random() < propensity:
                with_weights.observe(missed, 0.1 / propensity)
                without.observe(missed)
        weighted += with_weights.refutes(DELTA)
        plain += without.refutes(DELTA)

    assert weighted <= 60 * DELTA
    assert 60 == plain


@pytest.mark.parametrize("bound", [0.0, 1.0, -0.1, math.nan])
def test_a_bound_that_says_nothing_cannot_be_refuted(bound: float):
    """There is nothing to bet on."""
    with pytest.raises(ValueError, match="bound"):
        EProcess(bound)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.1, math.nan])
def test_a_weight_that_could_win_unfairly_is_refused(weight: float):
    """Above 1 the capital could become negative."""
    with pytest.raises(ValueError, match="weight"):
        EProcess(0.1).observe(True, weight)
