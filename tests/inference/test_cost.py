"""The cost model: a mean that follows what runs took, and is not moved by nonsense."""

import math

import pytest
from interlock_server.inference.cost import BYTES_MIN, CostModel


def learned(*runs: tuple[int, float]) -> CostModel:
    model = CostModel()
    for size_bytes, took_s in runs:
        model.learn(size_bytes, took_s)
    return model


def test_nothing_known_costs_nothing():
    """Which admits the first request."""
    assert 0.0 == CostModel().predict_s(10_000)


def test_cost_grows_with_the_text():
    """In proportion to its bytes."""
    assert 0.4 == pytest.approx(learned((1_000, 0.1)).predict_s(4_000))


def test_short_texts_cost_alike():
    """A byte is not cheaper than a few."""
    assert learned((1, 0.1)).predict_s(1) == learned((BYTES_MIN, 0.1)).predict_s(BYTES_MIN)


def test_it_follows_a_change():
    """After many runs of the new sort."""
    assert 0.2 == pytest.approx(learned((1_000, 0.1), *[(1_000, 0.2)] * 100).predict_s(1_000), rel=0.01)


def test_one_slow_run_moves_it_little():
    """A tenth of the way."""
    assert 0.19 == pytest.approx(learned((1_000, 0.1), (1_000, 1.0)).predict_s(1_000))


@pytest.mark.parametrize("took_s", [math.nan, math.inf, -math.inf, -1.0, 0.0])
def test_garbage_is_ignored(took_s: float):
    """Clocks can be wrong."""
    assert 0.1 == pytest.approx(learned((1_000, 0.1), (1_000, took_s)).predict_s(1_000))


@pytest.mark.parametrize("size_bytes", [0, -5])
def test_no_size_is_a_small_size(size_bytes: int):
    """And no division by zero."""
    assert 0.1 == pytest.approx(learned((size_bytes, 0.1)).predict_s(size_bytes))
