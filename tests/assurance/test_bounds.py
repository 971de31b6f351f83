"""Bounds on a miss rate, against scipy and against what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.assurance.bounds import (
    bound_at_rank,
    clopper_pearson_upper,
    order_statistic_rank,
    units_needed,
)
from scipy import stats

DELTAS = [0.5, 0.05, 0.01, 0.05 / 12, 1e-6]
ALPHAS = [0.2, 0.1, 0.05, 0.03, 0.01, 1e-3]
GRID = 2e-9  # one step of rounding up


@st.composite
def seen(draw: st.DrawFn) -> tuple[int, int, float]:
    """Misses, n and delta."""
    n = draw(st.integers(1, 300))
    return draw(st.integers(0, n)), n, draw(st.sampled_from(DELTAS))


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("n", [1, 2, 10, 55, 170, 1_000, 6_000])
def test_the_bound_is_that_of_scipy_rounded_up(n: int, delta: float):
    """Never below it."""
    for misses in sorted({0, 1, 2, n // 20, n // 2, n - 1} & set(range(n))):
        exact = stats.beta.ppf(1 - delta, misses + 1, n - misses)

        assert exact <= clopper_pearson_upper(misses, n, delta) + 1e-15 <= exact + GRID


@pytest.mark.parametrize(
    ("alpha", "n", "rank"),
    # METHODS 4.2, published.
    [(0.01, 300, 0), (0.01, 500, 1), (0.01, 1_000, 4), (0.01, 3_000, 20), (0.01, 10_000, 83), (1e-3, 30_000, 20)],
)
def test_the_rank_is_the_published_one(alpha: float, n: int, rank: int):
    """At 95 %."""
    assert rank == order_statistic_rank(n, alpha, 0.05)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_rank_is_the_last_that_fits(alpha: float, delta: float):
    """By scipy's distribution."""
    for n in (1, 7, 40, 65, 170, 400, 2_000):
        fitting = int((stats.binom.cdf(np.arange(n), n, alpha) <= delta).sum())

        assert (fitting - 1 if fitting else None) == order_statistic_rank(n, alpha, delta)


@pytest.mark.parametrize(
    ("alpha", "delta", "n"),
    [(0.01, 0.05, 299), (1e-3, 0.05, 2_995), (1e-4, 0.05, 29_956), (0.01, 0.01, 459), (0.5, 0.25, 2), (0.5, 0.5, 1)],
)
def test_the_units_needed_are_the_published_ones(alpha: float, delta: float, n: int):
    """METHODS 4.1, and two in which there is equality."""
    assert n == units_needed(alpha, delta)


@given(alpha=st.floats(0.005, 0.6), delta=st.floats(1e-6, 0.5))
def test_one_unit_less_is_too_few(alpha: float, delta: float):
    """And as many as are needed are enough."""
    n = units_needed(alpha, delta)

    assert (0, None) == (order_statistic_rank(n, alpha, delta), order_statistic_rank(n - 1, alpha, delta))


@given(seen())
def test_no_bound_is_below_what_was_seen(numbers: tuple[int, int, float]):
    """Nor above 1."""
    misses, n, delta = numbers

    assert misses / n <= clopper_pearson_upper(misses, n, delta) <= 1


@given(seen())
def test_more_misses_fewer_units_or_more_confidence_never_lower_it(numbers: tuple[int, int, float]):
    """Monotone in everything."""
    misses, n, delta = numbers
    bound = clopper_pearson_upper(misses, n, delta)

    assert clopper_pearson_upper(min(misses + 1, n), n, delta) >= bound
    assert clopper_pearson_upper(misses, n + 1, delta) <= bound
    assert clopper_pearson_upper(misses, n, delta / 2) >= bound


@given(n=st.integers(1, 400), alpha=st.sampled_from(ALPHAS), delta=st.sampled_from(DELTAS))
def test_what_is_certified_keeps_its_target(n: int, alpha: float, delta: float):
    """The bound of the dial that was picked for alpha is at most alpha, and the next dial's would not be."""
    rank = order_statistic_rank(n, alpha, delta)
    if rank is None:
        return

    assert bound_at_rank(rank, n, delta) <= alpha + GRID
    assert rank + 1 >= n or bound_at_rank(rank + 1, n, delta) > alpha - GRID


def test_a_dial_on_any_distribution_keeps_its_promise():
    """Exactly: the miss rate of T_(m + 1) is Beta(m + 1, n - m), and exceeds the bound with a probability of delta at most."""
    for n, alpha, delta in ((170, 0.1, 0.0125), (65, 0.2, 0.01), (400, 0.03, 0.05)):
        rank = order_statistic_rank(n, alpha, delta)
        assert rank is not None
        bound = bound_at_rank(rank, n, delta)

        assert stats.beta.sf(bound, rank + 1, n - rank) <= delta
        assert stats.beta.sf(alpha, rank + 1, n - rank) <= delta


def test_a_thousand_misses_do_not_underflow():
    """Terms far below what a float can hold are on the way."""
    exact = stats.beta.ppf(0.95, 1_001, 9_000)

    assert math.isclose(exact, clopper_pearson_upper(1_000, 10_000, 0.05), abs_tol=GRID)


def test_nothing_seen_bounds_nothing():
    """No unit, or none caught."""
    assert (1.0, 1.0, None) == (
        clopper_pearson_upper(0, 0, 0.05),
        clopper_pearson_upper(5, 5, 0.05),
        order_statistic_rank(0, 0.1, 0.05),
    )


@pytest.mark.parametrize(
    ("misses", "n", "delta"), [(-1, 5, 0.05), (6, 5, 0.05), (0, -1, 0.05), (0, 5, 0.0), (0, 5, 0.6), (0, 5, math.nan)]
)
def test_numbers_that_make_no_sense_are_a_mistake(misses: int, n: int, delta: float):
    """Of the caller's."""
    with pytest.raises(ValueError, match="must be"):
        clopper_pearson_upper(misses, n, delta)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_share_of_nothing_or_all_is_no_target(alpha: float):
    """For either question."""
    with pytest.raises(ValueError, match="alpha must be"):
        order_statistic_rank(10, alpha, 0.05)
    with pytest.raises(ValueError, match="alpha must be"):
        units_needed(alpha, 0.05)


def test_no_dial_lies_above_all_units():
    """There is no T_(n + 1)."""
    with pytest.raises(ValueError, match="below n"):
        bound_at_rank(5, 5, 0.05)
