"""ScreenMany at a real server: order, limits, withdrawal, and every way in which a stream can end."""

import asyncio
import time
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import grpc
import pytest
from fakes import BENIGN, HARMFUL
from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter

from .conftest import StartServer
from .server import PATIENT_S, Server, exchange, reasons

SLOW = {"mode": "slow", "seconds": 1000}
INVALID_ARGUMENT = 3


class Items:
    """A stream on which a test asks and listens."""

    def __init__(self, server: Server) -> None:
        self._outbox: Queue[pb.ScreenManyRequest | None] = Queue()
        self.call: Any = server.stub.ScreenMany(iter(self._outbox.get, None), timeout=PATIENT_S)

    def ask(self, sequence: int, *texts: str, timeout_s: int = 50, **asked: Any) -> None:
        """One item."""
        batch = pb.ScreenBatchRequest(exchanges=[exchange(text) for text in texts or [BENIGN]], **asked)
        timeout = Duration(seconds=timeout_s)
        self._outbox.put(pb.ScreenManyRequest(sequence=sequence, timeout=timeout, batch=batch))

    def withdraw(self, sequence: int) -> None:
        """Takes an item back."""
        self._outbox.put(pb.ScreenManyRequest(sequence=sequence, cancel=True))

    def finish(self) -> None:
        """Closes our half."""
        self._outbox.put(None)

    def answer(self) -> pb.ScreenManyResponse:
        """The next one."""
        return next(self.call)

    def end(self) -> grpc.StatusCode:
        """How the stream ends; there must be no answer any more."""
        with pytest.raises((StopIteration, grpc.RpcError)):
            next(self.call)
        return self.call.code()


@pytest.fixture
def open_stream() -> Iterator[Callable[[Server], Items]]:
    """Opens streams, and cancels them with the test."""
    opened: list[Items] = []

    def start(server: Server) -> Items:
        opened.append(Items(server))
        return opened[-1]

    yield start
    for items in opened:
        items.call.cancel()


def in_flight(server: Server) -> float:
    return server.metric("interlock_requests_in_flight")


def test_an_item_is_answered_by_its_sequence(server: Server, open_stream):
    """With a verdict for each of its exchanges, in order."""
    items = open_stream(server)
    items.ask(7, BENIGN, HARMFUL, "")
    answer = items.answer()

    assert (7, 0) == (answer.sequence, answer.code)
    assert [[], ["HARMFUL"], ["INPUT_EMPTY"]] == [reasons(verdict) for verdict in answer.batch.verdicts]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"timeout_s": 0}, "timeout: must be more than 0"),
        ({"timeout_s": -1}, "timeout: must be more than 0"),
        ({"profile": "lax"}, "profile: the policy has balanced"),
        ({"extra_margin": -1.0}, "extra_margin: must be finite and 0 or more"),
    ],
)
def test_a_mistaken_item_answers_for_itself(server: Server, open_stream, asked: dict[str, Any], message: str):
    """The stream goes on."""
    items = open_stream(server)
    items.ask(1, **asked)
    mistaken = items.answer()
    items.ask(2)

    assert (1, INVALID_ARGUMENT, message) == (mistaken.sequence, mistaken.code, mistaken.message)
    assert (2, 0) == ((good := items.answer()).sequence, good.code)


def test_a_batch_on_a_stream_has_the_limit_of_a_batch(start_server: StartServer, open_stream):
    """As has ScreenBatch."""
    items = open_stream(start_server(transport={"batch_size_max": 2}))
    items.ask(1, *[BENIGN] * 3)

    assert "exchanges: 3 are more than 2" == items.answer().message


def test_a_message_over_the_limit_ends_the_stream(server: Server, open_stream):
    """The transport refuses it before it is in memory, and cannot know whose it was."""
    items = open_stream(server)
    items.ask(1, "a" * 20_000_000)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == items.end()


def test_answers_come_as_they_are_done(server: Server, open_stream):
    """What is refused at once does not wait for what is judged."""
    server.script("alpha", mode="hang")
    items = open_stream(server)
    items.ask(1, timeout_s=3)
    items.ask(2, "")

    assert [2, 1] == [items.answer().sequence, items.answer().sequence]


def test_a_withdrawn_item_is_not_answered(server: Server, open_stream):
    """And its work is dropped; taking back what is not there is no mistake."""
    server.script("alpha", **SLOW)
    items = open_stream(server)
    items.ask(1)
    server.eventually(lambda: in_flight(server) == 1)
    items.withdraw(1)
    items.withdraw(99)
    server.eventually(lambda: in_flight(server) == 0)
    server.script("alpha")
    items.ask(1)

    assert pb.DECISION_RELEASE == items.answer().batch.verdicts[0].decision


def test_a_sequence_in_use_is_a_mistake(server: Server, open_stream):
    """Nobody could tell the answers apart."""
    server.script("alpha", mode="hang")
    items = open_stream(server)
    items.ask(1, timeout_s=2)
    items.ask(1, timeout_s=2)

    assert [INVALID_ARGUMENT, 0] == [items.answer().code, items.answer().code]


def test_a_half_closed_stream_finishes_what_was_asked(server: Server, open_stream):
    """Then it ends with OK."""
    items = open_stream(server)
    for sequence in range(20):
        items.ask(sequence)
    items.finish()

    assert set(range(20)) == {items.answer().sequence for _ in range(20)}
    assert grpc.StatusCode.OK == items.end()


def test_a_cancelled_stream_withdraws_everything(server: Server, open_stream):
    """Nobody waits any more."""
    server.script("alpha", **SLOW)
    items = open_stream(server)
    for sequence in range(3):
        items.ask(sequence)
    server.eventually(lambda: in_flight(server) == 3)
    items.call.cancel()

    server.eventually(lambda: in_flight(server) == 0)


def test_a_server_reads_only_what_it_has_room_for(start_server: StartServer, open_stream):
    """The rest waits at the caller's side of the stream."""
    server = start_server(transport={"stream_in_flight_max": 2})
    server.script("alpha", **SLOW)
    items = open_stream(server)
    for sequence in range(5):
        items.ask(sequence)
    server.eventually(lambda: in_flight(server) == 2)
    time.sleep(0.3)
    assert 2 == in_flight(server)
    server.script("alpha")

    assert set(range(5)) == {items.answer().sequence for _ in range(5)}


def test_a_draining_server_answers_what_it_has_read(start_server: StartServer, open_stream):
    """Then it ends the stream with UNAVAILABLE, so that the caller goes elsewhere, and itself."""
    server = start_server()
    server.script("alpha", mode="slow", seconds=2.0)
    items = open_stream(server)
    items.ask(1)
    server.eventually(lambda: in_flight(server) == 1)
    server.terminate()

    assert pb.DECISION_RELEASE == items.answer().batch.verdicts[0].decision
    assert grpc.StatusCode.UNAVAILABLE == items.end()
    assert 0 == server.stop()


def test_an_idle_stream_does_not_hold_up_a_drain(start_server: StartServer, open_stream):
    """It would otherwise take these ten minutes."""
    server = start_server(transport={"drain_seconds": 600.0})
    items = open_stream(server)
    items.ask(1)
    items.answer()
    server.terminate()

    assert grpc.StatusCode.UNAVAILABLE == items.end()
    assert 0 == server.stop()


def test_an_old_stream_ends_with_ok(start_server: StartServer, open_stream):
    """So that callers connect anew, where there may be more servers."""
    items = open_stream(start_server(transport={"connection_age_grace_s": 1.0}))
    items.ask(1)

    assert 0 == items.answer().code
    assert grpc.StatusCode.OK == items.end()


@pytest.mark.parametrize("multiplexed", [False, True])
def test_nothing_is_lost_when_connections_age(start_server: StartServer, multiplexed: bool):
    """Connections and streams end all the time under these calls. One that gRPC sends into a connection which is just being
    closed is refused before anybody reads it, and is asked again by the client.
    """
    server = start_server(transport={"connection_age_s": 1.0, "connection_age_grace_s": 1.0})

    async def ask() -> list[bool]:
        settings = {"timeout_s": PATIENT_S, "multiplexed": multiplexed}
        async with AsyncSafetyFilter(targets=server.target, **settings) as safety_filter:
            released, ends_s = [], time.monotonic() + 4
            while time.monotonic() < ends_s:
                verdicts = await asyncio.gather(*(safety_filter.screen(completion=BENIGN) for _ in range(4)))
                released += map(bool, verdicts)
        return released

    assert all(asyncio.run(ask()))


def test_streams_are_counted(start_server: StartServer, open_stream):
    """When they begin, when they end and how."""
    server = start_server()
    finished, left = open_stream(server), open_stream(server)
    for items in (finished, left):
        items.ask(1)
        items.answer()
    labels = {"grpc_type": "bidi_stream", "grpc_method": "ScreenMany"}
    assert 2 == server.metric("grpc_server_started_total", **labels)
    finished.finish()
    left.call.cancel()

    server.eventually(lambda: server.metric("grpc_server_handled_total", **labels) == 2)
    assert 1 == server.metric("grpc_server_handled_total", grpc_code="OK", **labels)
    assert 1 == server.metric("grpc_server_handled_total", grpc_code="Cancelled", **labels)
    assert 2 == server.metric("interlock_screen_seconds_count", rpc="ScreenMany")
