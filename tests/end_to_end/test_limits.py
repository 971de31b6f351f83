"""What callers can send to wear a server out, and what they get for it."""

import time

import grpc
import pytest
from fakes import BENIGN
from interlock.v1 import safety_filter_pb2 as pb

from .conftest import StartServer
from .server import PATIENT_S, Server, reasons


def test_ten_megabytes_are_too_long(server: Server):
    """Not cut, not read, not an error."""
    assert ["INPUT_TOO_LONG"] == reasons(server.screen("a" * 10_000_000))


def test_more_than_a_message_may_hold_is_an_error(server: Server):
    """The transport refuses it before it is in memory."""
    with pytest.raises(grpc.RpcError) as caught:
        server.screen("a" * 20_000_000)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" + "\u0301" * 100_000, ["INPUT_TOO_LONG"]),  # 200 KB
        ("\u0301" * 32_000, ["INPUT_EMPTY"]),
        ("\u200b" * 20_000, ["INPUT_EMPTY"]),
        ("He s" + "\u0301" * 32_000 + "tabbed her.", ["HARMFUL"]),
        ("He stabbed her." + "\u200b" * 20_000, ["HARMFUL"]),
        (" " * 60_000 + "a", []),
        ("." * 60_000 + "a", []),
        ("a_." * 20_000, ["INPUT_UNREADABLE"]),  # joined, a word of 20,000 letters
    ],
    ids=["tower", "marks", "invisible", "inside", "behind", "blanks", "dots", "apart"],
)
def test_a_text_made_to_be_slow_is_not(server: Server, text: str, reason: list[str]):
    """A square in its length would take half a minute, in every lane."""
    begun_s = time.monotonic()
    verdict = server.screen(text)

    assert reason == reasons(verdict)
    assert time.monotonic() - begun_s < 15


@pytest.mark.parametrize("completion", [b"caf\xc3", b"a\0b", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_unreadable(server: Server, completion: bytes):
    """A verdict, since they were understood well enough to refuse."""
    assert ["INPUT_UNREADABLE"] == reasons(server.screen(completion))


def outcome(server: Server, timeout_s: float) -> str:
    try:
        return " ".join(reasons(server.screen(timeout_s=timeout_s))) or "RELEASED"
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("timeout_s", [0.001, 0.01, 0.1, 0.29])
def test_a_deadline_that_leaves_no_time_withholds(server: Server, timeout_s: float):
    """It is shorter than the reserve for the answer: a verdict, if the wire is fast enough, and never a release."""
    assert outcome(server, timeout_s) in ("DEADLINE", "DEADLINE_EXCEEDED")


def test_more_requests_than_there_is_room_for_are_refused_with_a_verdict(start_server: StartServer):
    """At once, and retryable."""
    server = start_server(transport={"in_flight_max": 1})
    server.script("alpha", mode="slow", seconds=1000)
    call = server.screen_later()
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 1)
    verdict = server.screen(BENIGN)
    call.cancel()

    assert (["OVERLOADED"], True, pb.DECISION_WITHHOLD) == (reasons(verdict), verdict.retryable, verdict.decision)
    assert 1 == server.metric("interlock_admission_refused_total", why="in_flight")
    server.script("alpha")
    server.eventually(lambda: server.released(timeout_s=PATIENT_S))
