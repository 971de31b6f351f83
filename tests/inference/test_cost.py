"""The cost model: a line that follows what runs took, and is not moved by nonsense."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.inference.cost import CostModel


def learned(*runs: tuple[float, float]) -> CostModel:
    model = CostModel()
    for size, took_s in runs:
        model.learn(size, took_s)
    return model


def test_nothing_known_costs_nothing():
    """Which admits the first request."""
    assert 0.0 == CostModel().predict_s(10_000)


def test_runs_of_one_size_make_a_line_through_the_origin():
    """Nothing is known yet of what a call costs at least."""
    assert 0.4 == pytest.approx(learned((100, 0.1), (100, 0.1)).predict_s(400))


def test_runs_of_many_sizes_tell_base_and_slope():
    """What every call costs, and what each token adds."""
    model = learned(*[(size, 0.001 + 0.0001 * size) for size in (10, 50, 200, 120, 30)] * 20)

    assert (0.001, 0.0001) == (pytest.approx(model.base_s), pytest.approx(model.slope_s))


def test_it_follows_a_change():
    """After many runs of the new sort."""
    before, after = [(100, 0.1), (200, 0.2)] * 50, [(100, 0.2), (200, 0.4)] * 150

    assert 0.2 == pytest.approx(learned(*before, *after).predict_s(100), rel=0.02)


def test_one_hiccup_moves_it_little():
    """A run that took a minute is not the new speed."""
    steady = [(100, 0.01), (200, 0.02)] * 50

    assert learned(*steady, (100, 60.0)).predict_s(100) < 0.013


@pytest.mark.parametrize("took_s", [math.nan, math.inf, -math.inf, -1.0, 0.0])
@pytest.mark.parametrize("size", [100, math.nan, math.inf, -5, 0])
def test_garbage_is_ignored(size: float, took_s: float):
    """Clocks can be wrong."""
    assert 0.1 == pytest.approx(learned((100, 0.1), (size, took_s)).predict_s(100))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e3)), max_size=50), st.floats(-1e6, 1e6))
def test_a_prediction_is_a_number_and_not_negative(runs: list[tuple[float, float]], size: float):
    """And grows with the size, whatever was learned."""
    model = learned(*runs)
    found = model.predict_s(size)

    assert math.isfinite(found)
    assert 0 <= found <= model.predict_s(abs(size) * 2 + 1)
