"""The metrics: what is observed comes out as Prometheus counts it, and labels are looked up once."""

import math

from hypothesis import given
from hypothesis import strategies as st
from interlock_server.metrics import Histogram, Metrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as TheirHistogram
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

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


def test_a_bucket_shows_a_trace_of_its_own():
    """The last one that fell into it, for those who ask for OpenMetrics."""
    registry = CollectorRegistry()
    mine = Histogram("h", "Text.", (), (1.0, 2.0))
    registry.register(mine)
    for value, trace_id in ((0.5, "a" * 32), (0.6, "b" * 32), (0.7, ""), (1.5, "")):
        mine.labels().observe(value, trace_id)
    page = openmetrics.generate_latest(registry).decode()

    (family,) = text_string_to_metric_families(page)
    shown = {sample.labels["le"]: sample.exemplar for sample in family.samples if "le" in sample.labels}
    assert ({"trace_id": "b" * 32}, 0.6) == shown["1.0"][:2]
    assert (None, None) == (shown["2.0"], shown["+Inf"])


def test_what_alerts_watch_is_counted_from_zero():
    """Else a rate would not see the first time that a thing happens."""
    metrics = Metrics()
    metrics.from_zero(["HARMFUL"], ["alpha"], ["FAILED"])
    page = generate_latest(metrics.registry).decode()

    assert 'interlock_verdicts_total{decision="RELEASE",reason=""} 0.0' in page
    assert 'interlock_verdicts_total{decision="WITHHOLD",reason="HARMFUL"} 0.0' in page
    assert 'interlock_missing_total{cause="FAILED",member="alpha"} 0.0' in page


def test_what_is_not_there_is_not_broken():
    """A server without an audit log or TLS sets off no alarm for want of them, and one that runs has been loaded."""
    metrics = Metrics()
    read = metrics.registry.get_sample_value

    assert math.isnan(read("interlock_audit_healthy") or 0)
    assert math.isnan(read("interlock_tls_certificate_expires_timestamp_seconds") or 0)
    assert 1 == read("interlock_config_last_reload_successful")
