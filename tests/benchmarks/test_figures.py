"""Percentiles, spreads and what a generator takes from a capacity."""

import pytest
from figures import capacity_per_s, latencies, percentile, spread


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_samples(share: float, expected: int):
    """The nearest rank; nothing between two samples is made up."""
    assert expected == percentile(list(range(100, 0, -1)), share)


def test_failures_count_as_the_slowest():
    """A server cannot improve its latency by refusing what would be slow."""
    assert 60 == percentile(range(1, 91), 0.6, failed=10)
    assert percentile(range(1, 91), 0.99, failed=10) is None


def test_latencies_say_over_how_many_requests():
    """Also over those without an answer."""
    assert {"p50_ms": 2.0, "p99_ms": None, "n": 4} == latencies([1.0, 2.0, 3.0], failed=1)


def test_a_spread_is_unknown_when_a_repetition_is():
    """The median of the others would be that of the good days."""
    assert {"median": 2.0, "min": 1.0, "max": 9.0, "n": 3} == spread([1, 9, 2])
    assert spread([1, None, 2])["median"] is None


def test_the_generators_cores_are_taken_off():
    """A tenth of one of two cores is a twentieth of the capacity."""
    assert 190 == pytest.approx(capacity_per_s(200, generator_cores=0.1, cores=2))
