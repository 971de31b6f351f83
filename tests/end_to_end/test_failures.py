"""The drill: members crash, hang, return nonsense and come back under a running server."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from fakes import BENIGN, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb

from .conftest import StartServer
from .server import MEMBERS, PATIENT_S, Server, reasons

TEXTS = [
    BENIGN,
    HARMFUL,
    "The rain stopped.",
    "She whispered it.",
    f"{BENIGN} {HARMFUL}",
    "stabbed stabbed",
    "Goodbye.",
]
MODES: list[dict[str, Any]] = [{"mode": "crash"}, {"mode": "nan"}, {"mode": "hang"}, {"mode": "slow", "seconds": 1000}]
SHORT_S = 1.0  # 300 ms of it are the reserve


def released_texts(server: Server, timeout_s: float = PATIENT_S) -> set[str]:
    """Those of TEXTS that the server lets out, all asked at once; an error lets nothing out."""
    calls = {text: server.screen_later(text, timeout_s) for text in TEXTS}
    return {text for text, call in calls.items() if _released(call)}


def _released(call: "Future[Any]") -> bool:
    try:
        return bool(call.result(PATIENT_S).verdict.decision == pb.DECISION_RELEASE)
    except grpc.RpcError:
        return False


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode["mode"])
def test_the_drill(server: Server, mode: dict[str, Any]):
    """Each member fails in turn: nothing gets out that the healthy server would keep, and afterwards all is as before."""
    healthy = released_texts(server)
    assert {BENIGN, "The rain stopped.", "She whispered it.", "Goodbye."} == healthy
    for name in MEMBERS:
        server.script(name, **mode)

        assert set() == released_texts(server, PATIENT_S if mode["mode"] in ("crash", "nan") else SHORT_S)
        server.heal()
        assert healthy == released_texts(server)


def test_the_drill_under_load(server: Server):
    """Callers keep asking while members fail and come back every few milliseconds."""
    over = threading.Event()

    def ask(text: str) -> list[bool]:
        released = []
        while not over.is_set():
            released.append(_released(server.screen_later(text, SHORT_S)))
        return released

    with ThreadPoolExecutor(4) as threads:
        asking = {
            text: threads.submit(ask, text) for text in (HARMFUL, f"{BENIGN} {HARMFUL}", "stabbed stabbed", BENIGN)
        }
        for mode in [*MODES, {}, *MODES]:
            for name in MEMBERS:
                server.script(name, **mode)
                time.sleep(0.02)
                server.script(name)
        over.set()

    answers = {text: call.result(PATIENT_S) for text, call in asking.items()}
    assert all(answers.values())
    assert not any(any(released) for text, released in answers.items() if text != BENIGN)


@pytest.mark.parametrize(
    ("mode", "reason", "cause"),
    [("crash", "MEMBER_FAILED", pb.MISSING_CAUSE_FAILED), ("nan", "MEMBER_INVALID", pb.MISSING_CAUSE_INVALID)],
)
def test_a_failure_is_named(server: Server, mode: str, reason: str, cause: int):
    """With the member and the cause, and apart from dissent."""
    server.script("beta", mode=mode)
    verdict = server.screen()

    assert [reason] == reasons(verdict)
    assert [("beta", cause)] == [(item.member, item.missing) for item in verdict.members]


def test_the_answer_comes_before_the_deadline(server: Server):
    """Though a member hangs."""
    server.script("gamma", mode="hang")
    begun_s = time.monotonic()
    verdict = server.screen(timeout_s=2.0)

    assert time.monotonic() - begun_s < 2.0
    assert (pb.DECISION_WITHHOLD, ["MEMBER_TIMED_OUT"]) == (verdict.decision, reasons(verdict))
    assert [("gamma", pb.MISSING_CAUSE_TIMED_OUT)] == [(item.member, item.missing) for item in verdict.members]


def test_harm_is_proved_by_those_who_answer(server: Server):
    """A hung member does not hide what the others saw."""
    server.script("gamma", mode="hang")

    assert ["HARMFUL", "MEMBER_TIMED_OUT"] == reasons(server.screen(HARMFUL, timeout_s=2.0))


def test_a_member_that_keeps_failing_is_not_asked(start_server: StartServer):
    """Its breaker opens, which ops can see, and closes when it is back."""
    server = start_server(inference={"breaker_open_ms": 2_000})
    server.script("alpha", mode="crash")
    for _ in range(3):
        server.screen()
    causes = [item.missing for item in server.screen().members]

    assert [pb.MISSING_CAUSE_BREAKER_OPEN] == causes
    assert 2 == server.metric("interlock_breaker_state", member="alpha")
    server.heal()
    assert 0 == server.metric("interlock_breaker_state", member="alpha")


def test_hung_lanes_are_replaced_and_seen(server: Server):
    """They are a metric while they hang, and gone when the model lets go."""
    server.script("alpha", mode="hang")
    server.screen(timeout_s=SHORT_S)
    server.eventually(lambda: server.metric("interlock_lanes_lost") >= 1)
    server.heal()

    server.eventually(lambda: server.metric("interlock_lanes_lost") == 0)


def test_a_server_that_cannot_heal_exits(start_server: StartServer):
    """To be restarted by whatever restarts servers."""
    server = start_server(inference={"lanes_lost_max": 0}, transport={"drain_seconds": 0.0})
    server.script("alpha", mode="hang")
    server.screen(timeout_s=SHORT_S)

    assert 1 == server.process.wait(PATIENT_S)
    assert "interlock: too many lanes hang; exiting to be restarted" in server.log


def test_a_server_whose_port_closed_by_itself_exits(start_server: StartServer):
    """A method whose name is not UTF-8 closes it, which is gRPC's; nobody is to believe that such a process serves."""
    server = start_server(transport={"drain_seconds": 0.0})
    with pytest.raises(grpc.RpcError):
        server.channel.unary_unary(b"/\xff")(b"", timeout=PATIENT_S)  # type: ignore[arg-type]

    assert 1 == server.process.wait(PATIENT_S)
    assert "interlock: the gRPC server has ended by itself; exiting to be restarted" in server.log


def test_a_caller_who_leaves_is_forgotten(server: Server):
    """The request is over, though the member would have taken a quarter of an hour."""
    server.script("alpha", mode="slow", seconds=1000)
    call = server.screen_later()
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 1)
    call.cancel()

    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 0)
    server.script("alpha")
    assert server.released()


def test_a_caller_who_leaves_frees_the_queue(start_server: StartServer):
    """With one lane that hangs and a full queue, the next caller takes the place of the one who left."""
    server = start_server(inference={"lanes": 1, "queue_size_max": 3})
    server.script("alpha", mode="hang")
    first = server.screen_later()
    server.eventually(lambda: server.metric("interlock_queue_depth") == 2)
    leaving = server.screen_later()
    server.eventually(lambda: server.metric("interlock_queue_depth") == 3)
    leaving.cancel()
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 1)
    after = server.screen_later()
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 2)
    server.script("alpha")

    assert [pb.DECISION_RELEASE] * 2 == [call.result(PATIENT_S).verdict.decision for call in (first, after)]
