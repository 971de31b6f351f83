"""Quotas: what is over them is refused, for as long as it says; what is under them never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.access.quotas import UNLIMITED, Allowance, QuotaSettings

NOW_S = 1000.0


def taken(allowance: Allowance, times: int, size_bytes: int = 1, now_s: float = NOW_S) -> list[str]:
    """What became of so many requests."""
    refusals = [allowance.take(size_bytes, now_s) for _ in range(times)]
    return [refusal.why if refusal else "" for refusal in refusals]


def test_a_burst_passes_and_what_follows_is_refused():
    """At the same moment."""
    allowance = Allowance(QuotaSettings(requests_per_second=1.0, requests_burst=2))

    assert ["", "", "caller_requests"] == taken(allowance, 3)


def test_whoever_comes_back_when_told_passes():
    """And not much earlier."""
    allowance = Allowance(QuotaSettings(requests_per_second=4.0, requests_burst=1))
    taken(allowance, 1)
    refusal = allowance.take(1, NOW_S)

    assert refusal is not None
    assert 250 == refusal.retry_after_ms
    assert ["caller_requests"] == taken(allowance, 1, now_s=NOW_S + 0.2)
    assert [""] == taken(allowance, 1, now_s=NOW_S + 0.251)


def test_bytes_are_limited_apart_from_requests():
    """A few large texts are as much as many small ones."""
    allowance = Allowance(QuotaSettings(bytes_per_second=10.0, bytes_burst=100))

    assert ["", "caller_bytes"] == taken(allowance, 2, size_bytes=100)


def test_a_text_larger_than_the_burst_passes_and_is_paid_back():
    """Otherwise no quota below the longest text would be of use."""
    allowance = Allowance(QuotaSettings(bytes_per_second=10.0, bytes_burst=100))

    assert [""] == taken(allowance, 1, size_bytes=500)
    assert ["caller_bytes"] == taken(allowance, 1, now_s=NOW_S + 39.0)
    assert [""] == taken(allowance, 1, now_s=NOW_S + 41.0)


def test_a_refused_request_costs_nothing():
    """Whoever asks too often is not shut out for ever."""
    allowance = Allowance(QuotaSettings(requests_per_second=1.0, requests_burst=1))
    taken(allowance, 1000)

    assert [""] == taken(allowance, 1, now_s=NOW_S + 1.01)


def test_bytes_of_a_stream_count_against_what_comes_after():
    """They are not known when it begins."""
    allowance = Allowance(QuotaSettings(bytes_per_second=1.0, bytes_burst=10))
    taken(allowance, 1)
    allowance.charge(10)

    assert ["caller_bytes"] == taken(allowance, 1)


def test_streams_are_counted_while_they_are_open():
    """One too many is told so."""
    allowance = Allowance(QuotaSettings(streams_max=1))
    with allowance.stream() as first, allowance.stream() as second:
        pass
    with allowance.stream() as third:
        pass

    assert (None, None) == (first, third)
    assert second is not None
    assert ("caller_streams", 1000) == second


def test_without_limits_nothing_is_refused():
    """Where no callers are configured."""
    assert [""] * 1000 == taken(UNLIMITED, 1000, size_bytes=10**9)


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 10), st.floats(0.1, 100))
def test_no_more_passes_than_rate_and_burst_allow(waits_s: list[float], burst: int, rate: float):
    """Whenever requests come."""
    allowance = Allowance(QuotaSettings(requests_per_second=rate, requests_burst=burst))
    now_s, passed = NOW_S, 0
    for wait_s in waits_s:
        now_s += wait_s
        passed += allowance.take(1, now_s) is None

    assert passed <= burst + rate * (now_s - NOW_S) + 1e-6


@pytest.mark.parametrize("back_s", [-1.0, -1e9])
def test_a_clock_that_goes_back_gives_nothing_away(back_s: float):
    """The monotonic clock does not; a suspended machine may surprise."""
    allowance = Allowance(QuotaSettings(requests_per_second=1.0, requests_burst=1))
    taken(allowance, 1)

    assert ["caller_requests"] == taken(allowance, 1, now_s=NOW_S + back_s)
