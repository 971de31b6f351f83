"""Export: a real OTLP receiver gets the spans; one that is dead costs nothing but spans, which are counted and logged."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from access.certificates import Authority
from collector import Collector, attributes
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.trace_context import TraceContext
from interlock_server.tracing.otlp import SpanQueue, exporter
from interlock_server.tracing.running import running_tracer
from interlock_server.tracing.settings import TracingSettings
from interlock_server.tracing.spans import Span
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

PATIENT_S = 60.0
CALLER = TraceContext("a" * 32, "b" * 16, True)


def span(name: str = "screen", **changes: Any) -> Span:
    """A span below the caller's."""
    given = {"context": CALLER.child(name), "begun_s": 10.0, "ended_s": 10.5, "attributes": {"interlock.rpc": "Screen"}}
    return Span(name, **{**given, **changes})


def settings(**changes: Any) -> TracingSettings:
    """For a collector that is on this machine."""
    return TracingSettings(insecure=True, batch_delay_ms=10, **changes)


class StuckExporter(SpanExporter):
    """Begins to export, and comes to no end before it may."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        self.begun.set()
        assert self.released.wait(PATIENT_S)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.released.set()


class BrokenExporter(StuckExporter):
    """Raises."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        raise RuntimeError


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A receiver."""
    running = Collector()
    yield running
    running.stop()


@pytest.fixture
def metrics() -> Metrics:
    """Those of one server."""
    return Metrics()


def counted(metrics: Metrics, result: str) -> float:
    """How many spans that became of."""
    return float(metrics.registry.get_sample_value("interlock_spans_total", {"result": result}) or 0)


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it does."""
    ends_s = time.monotonic() + PATIENT_S
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_a_collector_gets_what_is_traced(collector: Collector, metrics: Metrics):
    """Ids, times, attributes, and who it is from."""
    config = settings(endpoint=collector.endpoint, service_name="gate")
    queue = SpanQueue(config, exporter(config), metrics)
    queue.put(span(kind="server", error="OVERLOADED"))
    queue.close(PATIENT_S)

    (sent,) = collector.spans("screen")
    (resource,) = [resource.resource for resource in collector.requests[0].resource_spans]
    assert (CALLER.trace_id, CALLER.span_id) == (sent.trace_id.hex(), sent.parent_span_id.hex())
    assert (500_000_000, 2, 2) == (sent.end_time_unix_nano - sent.start_time_unix_nano, sent.kind, sent.status.code)
    assert {"interlock.rpc": "Screen", "error.type": "OVERLOADED"} == attributes(sent)
    assert "gate" in str(resource)
    assert 1 == counted(metrics, "exported")


def test_times_are_those_of_the_wall_clock(collector: Collector, metrics: Metrics):
    """So that they fit to those of others."""
    config = settings(endpoint=collector.endpoint)
    queue = SpanQueue(config, exporter(config), metrics)
    now_s = time.monotonic()
    before_ns = time.time_ns()
    queue.put(span(begun_s=now_s, ended_s=now_s))
    queue.close(PATIENT_S)

    assert abs(collector.spans()[0].start_time_unix_nano - before_ns) < 1e9


def test_a_dead_collector_is_counted_and_logged_once(metrics: Metrics, caplog: pytest.LogCaptureFixture):
    """Whoever puts spans does not notice."""
    config = settings(endpoint="localhost:1", export_timeout_ms=50)
    queue = SpanQueue(config, exporter(config), metrics)
    for failures in (1, 2):
        queue.put(span())
        eventually(lambda failures=failures: counted(metrics, "failed") == failures)
    queue.close(PATIENT_S)

    assert ["spans cannot be exported"] == [record.message for record in caplog.records if record.name == "interlock"]


def test_a_collector_that_comes_back_is_used(collector: Collector, metrics: Metrics, caplog: pytest.LogCaptureFixture):
    """What was lost stays lost."""
    caplog.set_level("INFO", "interlock")
    config = settings(endpoint=collector.endpoint)
    collector.refusing = True
    queue = SpanQueue(config, exporter(config), metrics)
    queue.put(span("lost"))
    eventually(lambda: counted(metrics, "failed") == 1)
    collector.refusing = False
    queue.put(span("found"))
    queue.close(PATIENT_S)

    assert ["found"] == [sent.name for sent in collector.spans()]
    assert "spans are exported again" == caplog.records[-1].message


def test_a_full_queue_drops(metrics: Metrics):
    """At once: nobody waits for a collector."""
    stuck = StuckExporter()
    queue = SpanQueue(settings(queue_size_max=3, batch_size_max=1), stuck, metrics)
    queue.put(span())
    assert stuck.begun.wait(PATIENT_S)
    for _ in range(5):
        queue.put(span())

    assert 2 == counted(metrics, "dropped")
    queue.close(0.0)
    eventually(lambda: counted(metrics, "exported") == 4)


def test_an_exporter_that_raises_is_a_dead_collector(metrics: Metrics):
    """And the thread goes on."""
    queue = SpanQueue(settings(), BrokenExporter(), metrics)
    for failures in (1, 2):
        queue.put(span())
        eventually(lambda failures=failures: counted(metrics, "failed") == failures)
    queue.close(PATIENT_S)


def test_the_end_waits_for_no_collector(metrics: Metrics):
    """Longer than it was told to; what comes after is dropped."""
    stuck = StuckExporter()
    queue = SpanQueue(settings(), stuck, metrics)
    queue.put(span())
    queue.close(0.0)
    queue.put(span())

    assert 1 == counted(metrics, "dropped")


async def test_without_an_endpoint_there_is_no_tracer(metrics: Metrics):
    """Off by default."""
    async with running_tracer(TracingSettings(), metrics) as tracer:
        assert tracer is None


async def test_an_authority_that_cannot_be_read_is_said(metrics: Metrics):
    """When it starts, and not with the first span."""
    config = TracingSettings(endpoint="localhost:4317", ca_file="/nowhere.pem")

    with pytest.raises(ConfigError, match=r"tracing\.ca_file: No such file"):
        async with running_tracer(config, metrics):
            pass


@pytest.mark.parametrize(("signed_by", "result"), [("theirs", "exported"), ("others", "failed")])
def test_a_collector_shows_a_certificate(tmp_path: Path, metrics: Metrics, signed_by: str, result: str):
    """Unless it is said that it need not; and it must be of the authority that is named."""
    authority = Authority(tmp_path, "theirs")
    Authority(tmp_path, "others")
    certificate, key = authority.issue()
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    collector = Collector("localhost:0", credentials)
    config = TracingSettings(
        endpoint=collector.endpoint, ca_file=str(tmp_path / f"{signed_by}.pem"), export_timeout_ms=500
    )
    queue = SpanQueue(config, exporter(config), metrics)
    queue.put(span())
    queue.close(PATIENT_S)
    collector.stop()

    assert 1 == counted(metrics, result)
