"""No text under judgement, and nothing else that a caller wrote, in logs, metrics, spans or errors, in any mode of failure."""

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb

from .server import PATIENT_S, Server, request
from .traced import SERVICE, Traced, traced

__all__ = ["traced"]  # a fixture

MARKER = "xyzzy-marker"
HEADERS = [("x-request-id", MARKER), ("tracestate", f"a={MARKER}"), ("user-agent", MARKER), (MARKER, MARKER)]
TRACEPARENTS = [
    [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    [("traceparent", f"00-{MARKER}-b7ad6b7169203331-01")],
    [("grpc-trace-bin", MARKER.encode())],
]


def errors(server: Server, asked: pb.ScreenRequest, timeout_s: float = PATIENT_S) -> str:
    """What comes back besides the verdict."""
    try:
        _, call = server.stub.Screen.with_call(asked, timeout=timeout_s)
    except grpc.RpcError as error:
        return f"{error.details()} {error.trailing_metadata()}"  # type: ignore[attr-defined]
    return str(call.trailing_metadata())


def odd_requests() -> Iterator[pb.ScreenRequest]:
    """The marker in every place for text, in texts that are refused for different reasons."""
    for completion in (MARKER, f"{MARKER} stabbed", MARKER.encode() + b"\xff", MARKER + "\0", MARKER * 10_000, ""):
        yield request(completion, MARKER)
    yield request(MARKER, MARKER.encode() + b"\xff")
    yield request(MARKER, MARKER, profile="lenient")
    yield request(MARKER, MARKER, extra_margin=-1.0)
    turns = [pb.Turn(text=MARKER.encode()), pb.Turn(speaker=pb.SPEAKER_USER, text=b"\xff" + MARKER.encode())]
    yield pb.ScreenRequest(exchange=pb.Exchange(turns=turns, completion=MARKER.encode()))
    yield pb.ScreenRequest(exchange=pb.Exchange(turns=turns, prompt=MARKER.encode(), completion=MARKER.encode()))


@pytest.mark.parametrize("mode", ["ok", "crash", "nan", "hang"])
def test_no_text_gets_out(server: Server, mode: str):
    """A crash even quotes the text in its message."""
    server.script("alpha", mode=mode)
    said = [errors(server, asked, PATIENT_S if mode != "hang" else 0.5) for asked in odd_requests()]
    server.heal()

    assert MARKER not in " ".join(said)
    assert MARKER not in server.log
    assert MARKER not in server.get("/metrics")[1]


def test_a_whole_batch_keeps_its_texts_to_itself(server: Server):
    """Also when a member crashes on every item."""
    server.script("alpha", mode="crash")
    items = [asked.exchange for asked in odd_requests()][:7]
    server.stub.ScreenBatch(pb.ScreenBatchRequest(exchanges=items), timeout=PATIENT_S)

    assert MARKER not in server.log
    assert MARKER not in server.get("/metrics")[1]


def odd_streams() -> Iterator[list[pb.ScreenStreamRequest]]:
    """Completions that are written until they end, break off, or say something out of order."""
    start = pb.ScreenStreamRequest(start=pb.ScreenStreamStart(prompt=MARKER.encode()))
    chunk = pb.ScreenStreamRequest(chunk=f"{MARKER} went on. He stabbed {MARKER}. ".encode())
    end = pb.ScreenStreamRequest(end=pb.ScreenStreamEnd())
    yield from ([start, chunk, end], [start, chunk], [start, chunk, end, chunk], [start, chunk, start], [chunk])
    yield [pb.ScreenStreamRequest(start=pb.ScreenStreamStart(profile=MARKER)), chunk, end]


def odd_calls(server: Server) -> Iterator[tuple[Callable[..., Any], Any]]:
    """The marker in every call, wherever a caller can write it."""
    stub, asked = server.stub, list(odd_requests())
    yield from ((stub.Screen, each) for each in asked)
    yield stub.Screen, request(MARKER, MARKER, profile=MARKER)
    exchanges = [each.exchange for each in asked[:7]]
    yield stub.ScreenBatch, pb.ScreenBatchRequest(exchanges=exchanges)
    yield stub.ScreenBatch, pb.ScreenBatchRequest(exchanges=exchanges, profile=MARKER)
    batch = pb.ScreenBatchRequest(exchanges=exchanges)
    yield stub.ScreenMany, iter([pb.ScreenManyRequest(sequence=1, timeout=Duration(seconds=20), batch=batch)])
    candidates = [each.completion for each in exchanges]
    yield stub.Select, pb.SelectRequest(prompt=MARKER.encode(), candidates=candidates)
    yield stub.Select, pb.SelectRequest(candidates=candidates, profile=MARKER)
    yield from ((stub.ScreenStream, iter(messages)) for messages in odd_streams())
    for verdict_id in (MARKER, "0af76519-16cd-43dd-8448-eb211c80319c"):
        feedback = {"verdict_id": verdict_id, "label": pb.FEEDBACK_LABEL_FINE}
        yield stub.Report, pb.ReportRequest(**feedback)
        yield stub.Report, pb.ReportRequest(**feedback, categories=[MARKER])
    yield server.channel.unary_unary(f"/{SERVICE}/{MARKER}"), MARKER.encode()
    yield server.channel.unary_unary(f"/{SERVICE}/Screen"), MARKER.encode()  # no message


def said_of(call: Callable[..., Any], asked: Any, metadata: Any) -> str:
    """What comes back besides the verdict; but the request's id is the caller's to have back."""
    try:
        if isinstance(call, grpc.StreamStreamMultiCallable):
            answer: Any = call(asked, timeout=PATIENT_S, metadata=metadata)
            list(answer)
        else:
            _, answer = call.with_call(asked, timeout=PATIENT_S, metadata=metadata)  # type: ignore[attr-defined]
    except grpc.RpcError as error:
        answer = error
    trailing = [pair for pair in answer.trailing_metadata() or () if pair[0] != "x-request-id"]
    return f"{answer.details()} {trailing}"


@pytest.mark.parametrize("mode", ["ok", "crash", "nan"])
def test_nothing_gets_out_of_any_call(traced: Traced, mode: str):
    """Into no span, no line, no metric in either format, and no error."""
    server = traced.server
    server.script("alpha", mode=mode)
    said = [
        said_of(call, asked, [*HEADERS, *TRACEPARENTS[place % 3]])
        for place, (call, asked) in enumerate(odd_calls(server))
    ]
    server.heal()
    server.stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)
    traced.collector.wait_for(lambda: traced.collector.spans(f"{SERVICE}/GetEnsemble"))
    accept = urllib.request.Request(server.http + "/metrics", headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(accept, timeout=PATIENT_S) as response:
        said.append(response.read().decode())

    assert MARKER not in "".join(said)
    assert MARKER not in server.get("/metrics")[1]
    assert MARKER not in server.log
    assert MARKER not in str(traced.collector.requests)
    assert {f"{SERVICE}/{rpc}" for rpc in ("Screen", "ScreenBatch", "ScreenStream", "Select", "Report")} <= {
        span.name for span in traced.collector.spans()
    }


def test_logs_are_json_lines(server: Server):
    """Every line, at the most talkative level."""
    lines = server.log.splitlines()

    assert lines
    assert all(line.startswith("{") and line.endswith("}") for line in lines)
