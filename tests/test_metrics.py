"""The metrics: what is observed comes out as Prometheus counts it, and labels are looked up once."""

from hypothesis import given
from hypothesis import strategies as st
from interlock_server.metrics import Histogram, Metrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as TheirHistogram

BOUNDS = (-1.0, 0.0, 0.5, 2.0)


@given(st.lists(st.floats(-5, 5), max_size=30))
def test_a_histogram_says_what_prometheus_clients_own_says(values: list[float]):
    """To the byte, but for when it was made and for the sum, which may fall."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histogram("h", "Text.", ("label",), BOUNDS)
    ours.register(mine)
    other = TheirHistogram("h", "Text.", ("label",), registry=theirs, buckets=BOUNDS)
    for value in values:
        mine.labels("a").observe(value)
        other.labels("a").observe(value)
    lines = [
        sorted(line for line in generate_latest(r).decode().splitlines() if "created" not in line)
        for r in (ours, theirs)
    ]

    assert lines[0] == lines[1]


def test_labels_are_looked_up_once():
    """The same child for the same values."""
    metrics = Metrics()

    assert metrics.missing.labels("a", "b") is metrics.missing.labels("a", "b")
    assert metrics.screen_seconds.labels("a", "b") is metrics.screen_seconds.labels("a", "b")
