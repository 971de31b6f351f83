"""What calls a soak flat: memory that grows, or windows that become slower, must not pass."""

from typing import Any

import pytest
from soak import trend

WINDOWS = 180  # half an hour


def windows(p50: Any = lambda at: 15.0, p99: Any = lambda at: 60.0) -> list[dict[str, Any]]:
    """Latencies by window."""
    return [{"p50_ms": p50(at), "p99_ms": p99(at)} for at in range(WINDOWS)]


def memory(megabytes: Any) -> list[float]:
    """Memory by window."""
    return [megabytes(at) for at in range(WINDOWS)]


def test_what_wobbles_is_flat():
    """No machine is quiet."""
    found = trend(memory(lambda at: 200 + at % 7), windows(lambda at: 15 + at % 3, lambda at: 60 + at % 20))

    assert (True, []) == (found["flat"], found["not_flat"])


def test_what_settles_is_flat():
    """Caches fill for a while."""
    assert trend(memory(lambda at: 200 + min(at, 30)), windows())["flat"]


def test_a_leak_is_not_flat():
    """A tenth of a megabyte in ten seconds is 36 an hour."""
    found = trend(memory(lambda at: 200 + 0.1 * at), windows())

    assert (36, ["memory"]) == (pytest.approx(found["memory_mb_per_hour"], rel=0.01), found["not_flat"])


def test_becoming_slower_is_not_flat():
    """In the middle, or at the end of the distribution."""
    assert ["p50"] == trend(memory(lambda at: 200), windows(p50=lambda at: 10 + at / 10))["not_flat"]
    assert ["p99"] == trend(memory(lambda at: 200), windows(p99=lambda at: 50 + at))["not_flat"]


def test_a_window_without_answers_is_not_flat():
    """Its percentile is that of a request without a verdict."""
    assert ["p99"] == trend(memory(lambda at: 200), windows(p99=lambda at: None if at == 100 else 60))["not_flat"]
