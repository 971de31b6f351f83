"""No text under judgement in logs, metrics or error messages, in any mode of failure."""

from collections.abc import Iterator

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb

from .server import PATIENT_S, Server, request

MARKER = "xyzzy-marker"


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


def test_logs_are_json_lines(server: Server):
    """Every line, at the most talkative level."""
    lines = server.log.splitlines()

    assert lines
    assert all(line.startswith("{") and line.endswith("}") for line in lines)
