"""Tracing: a caller's trace goes on through the server, and can be found again in its logs and metrics."""

import random
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from collector import attributes
from fakes import BENIGN, HARMFUL
from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import SafetyFilter
from opentelemetry import context, trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .conftest import StartServer
from .server import PATIENT_S, Server, exchange, request
from .traced import SERVICE, Traced, traced, traceparent

__all__ = ["traced"]  # a fixture


@pytest.fixture
def caller() -> tuple[str, str]:
    """The ids of a caller's span, which no other test has."""
    return f"{random.getrandbits(128):032x}", f"{random.getrandbits(64):016x}"


def below(spans: Any, parent: Span | None = None) -> list[str]:
    """The names of the spans below one, in order of time."""
    children = [span for span in spans if parent is None or span.parent_span_id == parent.span_id]
    return [span.name for span in sorted(children, key=lambda span: span.start_time_unix_nano)]


def one(spans: Any, name: str) -> Span:
    """The span of that name."""
    (found,) = [span for span in spans if span.name == name]
    return found  # type: ignore[no-any-return]


def test_a_request_is_a_trace(traced: Traced, caller: tuple[str, str]):
    """Below the caller's span the RPC, below that the screening, below that its parts."""
    traced.server.stub.Screen(request(HARMFUL), timeout=PATIENT_S, metadata=[traceparent(ids=caller)])
    spans = traced.trace(caller[0])
    rpc, screen = one(spans, f"{SERVICE}/Screen"), one(spans, "screen")

    assert caller[1] == rpc.parent_span_id.hex()
    assert ["screen"] == below(spans, rpc)
    assert {"queue", "member alpha", "member beta", "member gamma", "decide", "record"} == set(below(spans, screen))


def test_parts_are_within_the_whole(traced: Traced, caller: tuple[str, str]):
    """In time."""
    traced.server.stub.Screen(request(BENIGN), timeout=PATIENT_S, metadata=[traceparent(ids=caller)])
    spans = traced.trace(caller[0])
    rpc = one(spans, f"{SERVICE}/Screen")

    assert [] == [
        span.name
        for span in spans
        if not rpc.start_time_unix_nano
        <= span.start_time_unix_nano
        <= span.end_time_unix_nano
        <= rpc.end_time_unix_nano
    ]


def test_a_verdict_can_be_found(traced: Traced, caller: tuple[str, str]):
    """By its id, with what decided."""
    answer = traced.server.stub.Screen(request(HARMFUL), timeout=PATIENT_S, metadata=[traceparent(ids=caller)])
    said = attributes(one(traced.trace(caller[0]), "screen"))

    assert (answer.verdict.verdict_id, "WITHHOLD", "HARMFUL", answer.verdict.digests.policy) == tuple(
        said[f"interlock.{name}"] for name in ("verdict_id", "decision", "reason", "policy")
    )


def test_batches_and_candidates_are_screenings_of_one_trace(traced: Traced, caller: tuple[str, str]):
    """One for each text."""
    stub, metadata = traced.server.stub, [traceparent(ids=caller)]
    stub.ScreenBatch(pb.ScreenBatchRequest(exchanges=[exchange()] * 3), timeout=PATIENT_S, metadata=metadata)
    stub.Select(pb.SelectRequest(candidates=[BENIGN.encode()] * 2), timeout=PATIENT_S, metadata=metadata)
    spans = traced.trace(caller[0], count=2)

    assert 3 * ["screen"] == below(spans, one(spans, f"{SERVICE}/ScreenBatch"))
    assert 2 * ["screen"] == below(spans, one(spans, f"{SERVICE}/Select"))


def test_a_growing_completion_is_one_trace(traced: Traced, caller: tuple[str, str]):
    """With a screening for each part, and one for the whole."""

    def messages() -> Iterator[pb.ScreenStreamRequest]:
        yield pb.ScreenStreamRequest(start=pb.ScreenStreamStart())
        yield pb.ScreenStreamRequest(chunk=f"{BENIGN} {BENIGN}".encode())
        yield pb.ScreenStreamRequest(end=pb.ScreenStreamEnd())

    list(traced.server.stub.ScreenStream(messages(), timeout=PATIENT_S, metadata=[traceparent(ids=caller)]))
    spans = traced.trace(caller[0])
    partial = [attributes(span)["interlock.partial"] for span in spans if span.name == "screen"]

    assert {"screen"} == set(below(spans, one(spans, f"{SERVICE}/ScreenStream")))
    assert partial[-1] is False


def test_items_of_a_long_stream_are_traces_of_their_own(traced: Traced):
    """It carries the requests of many."""

    def messages() -> Iterator[pb.ScreenManyRequest]:
        for sequence in (1, 2):
            batch = pb.ScreenBatchRequest(exchanges=[exchange()])
            yield pb.ScreenManyRequest(sequence=sequence, timeout=Duration(seconds=20), batch=batch)

    answers = list(traced.server.stub.ScreenMany(messages(), timeout=PATIENT_S, metadata=[traceparent()]))
    ids = {answer.batch.verdicts[0].verdict_id for answer in answers}

    def roots() -> list[Span]:
        spans = traced.collector.spans("screen")
        return [span for span in spans if attributes(span)["interlock.verdict_id"] in ids and not span.parent_span_id]

    traced.collector.wait_for(lambda: len(roots()) == 2)
    assert 2 == len({span.trace_id for span in roots()})


def test_a_request_that_cannot_be_understood_is_an_error(traced: Traced, caller: tuple[str, str]):
    """With its status, and nothing below."""
    with pytest.raises(grpc.RpcError, match="profile"):
        traced.server.stub.Screen(
            request(BENIGN, profile="lenient"), timeout=PATIENT_S, metadata=[traceparent(ids=caller)]
        )
    (rpc,) = traced.trace(caller[0])

    assert (3, "INVALID_ARGUMENT") == tuple(attributes(rpc)[name] for name in ("rpc.grpc.status_code", "error.type"))


def test_an_unwanted_trace_is_not_kept(traced: Traced, caller: tuple[str, str]):
    """The caller decides, until the service fails."""
    metadata = [traceparent(sampled=False, ids=caller)]
    traced.server.stub.Screen(request(HARMFUL), timeout=PATIENT_S, metadata=metadata)
    traced.server.script("alpha", mode="crash")
    failed = traced.server.stub.Screen(request(BENIGN), timeout=PATIENT_S, metadata=metadata).verdict
    traced.server.heal()
    spans = traced.trace(caller[0])

    assert failed.verdict_id == attributes(one(spans, "screen"))["interlock.verdict_id"]
    assert "FAILED" == attributes(one(spans, "member alpha"))["error.type"]


def test_a_bucket_leads_to_a_trace(traced: Traced, caller: tuple[str, str]):
    """As OpenMetrics, for those who ask for it."""
    traced.server.stub.Screen(request(HARMFUL), timeout=PATIENT_S, metadata=[traceparent(ids=caller)])
    asked = urllib.request.Request(
        traced.server.http + "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(asked, timeout=PATIENT_S) as response:
        kind, page = response.headers["Content-Type"], response.read().decode()

    assert kind.startswith("application/openmetrics-text")
    assert [
        line for line in page.splitlines() if line.startswith("interlock_screen_seconds_bucket") and caller[0] in line
    ]
    assert "trace_id" not in traced.server.get("/metrics")[1]


def test_lines_lead_to_a_trace(traced: Traced, caller: tuple[str, str]):
    """And to the verdict."""
    answer = traced.server.stub.Screen(request(BENIGN), timeout=PATIENT_S, metadata=[traceparent(ids=caller)])
    (line,) = [line for line in traced.server.events("verdict") if line["trace_id"] == caller[0]]

    assert (answer.verdict.verdict_id, "RELEASE", "Screen") == (line["verdict_id"], line["decision"], line["rpc"])


def test_the_clients_trace_goes_on(traced: Traced):
    """If it has one, nobody has to do anything for it."""
    ids = trace.SpanContext(int("c" * 32, 16), int("d" * 16, 16), False, trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(ids)))
    with SafetyFilter(targets=traced.server.target, timeout_s=PATIENT_S) as client:
        verdict = client.screen(completion=BENIGN)
    context.detach(token)

    assert verdict.released
    assert ["d" * 16] == [span.parent_span_id.hex() for span in traced.trace("c" * 32) if span.name.startswith(SERVICE)]


def test_a_dead_collector_fails_no_verdict(start_server: StartServer):
    """And is an alarm."""
    dead = {"endpoint": "localhost:1", "insecure": True, "sample_ratio": 1.0, "batch_delay_ms": 10}
    server = start_server(tracing={**dead, "export_timeout_ms": 50, "queue_size_max": 10})

    assert all(server.released() for _ in range(20))
    server.eventually(lambda: server.metric("interlock_spans_total", result="failed") > 0)
    assert 1 == len(server.events("spans cannot be exported"))
    assert 0 == server.stop()


def test_without_tracing_verdicts_are_still_named(server: Server):
    """Each line says which it is about; there is no trace."""
    verdict = server.screen()
    (line,) = [line for line in server.events("verdict") if line["verdict_id"] == verdict.verdict_id]

    assert "trace_id" not in line
    assert not [name for name in server.get("/metrics")[1].splitlines() if name.startswith("interlock_spans_total{")]


def test_without_tracing_nothing_of_it_is_loaded():
    """The server starts as fast as ever, and needs no library for it."""
    look = "import sys, interlock_server.app, interlock_server.cli; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)

    assert "False" == done.stdout.strip()
