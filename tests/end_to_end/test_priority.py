"""Who waits for whom: bulk work is judged when nothing interactive is to do, and no differently."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from fakes import BENIGN, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import SafetyFilter

from .conftest import StartServer
from .server import PATIENT_S, Server, exchange, reasons, request

BULK, INTERACTIVE = pb.PRIORITY_BULK, pb.PRIORITY_INTERACTIVE
RUN_S = 0.5


@pytest.fixture
def slow_server(start_server: StartServer) -> Server:
    """One lane, and a member that takes its time."""
    server = start_server(inference={"lanes": 1})
    server.script("alpha", mode="slow", seconds=RUN_S)
    return server


def order(server: Server, calls: Sequence["Future[Any]"]) -> list[int]:
    """The places of the calls, in the order in which they are done."""
    done: list[int] = []
    for place, call in enumerate(calls):
        call.add_done_callback(lambda _, place=place: done.append(place))
    server.eventually(lambda: len(done) == len(calls))
    return done


def ask(server: Server, priority: int, sent: int) -> "Future[Any]":
    """A call under way, the `sent`-th that the server has."""
    call: Future[Any] = server.stub.Screen.future(request(priority=priority), timeout=PATIENT_S)
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == sent)
    return call


def test_bulk_waits_for_interactive(slow_server: Server):
    """Also for what came after it."""
    calls = [ask(slow_server, priority, place + 1) for place, priority in enumerate([INTERACTIVE, BULK, INTERACTIVE])]

    assert [0, 2, 1] == order(slow_server, calls)


def test_a_bulk_batch_waits_as_well(slow_server: Server):
    """The priority is that of every exchange of it."""
    first = ask(slow_server, INTERACTIVE, 1)
    batch = pb.ScreenBatchRequest(exchanges=[exchange()] * 2, priority=BULK)
    bulk = slow_server.stub.ScreenBatch.future(batch, timeout=PATIENT_S)
    slow_server.eventually(lambda: slow_server.metric("interlock_requests_in_flight") == 3)
    last = ask(slow_server, INTERACTIVE, 4)

    assert [0, 2, 1] == order(slow_server, [first, bulk, last])


def test_a_number_that_the_server_does_not_know_is_interactive(slow_server: Server):
    """A caller of a later version must not wait for ever."""
    calls = [ask(slow_server, priority, place + 1) for place, priority in enumerate([INTERACTIVE, BULK, 99])]

    assert [0, 2, 1] == order(slow_server, calls)


@pytest.mark.parametrize("priority", [0, INTERACTIVE, BULK, 99])
def test_priority_changes_no_verdict(server: Server, priority: int):
    """Only its time."""
    verdicts = [server.screen(text, priority=priority) for text in (BENIGN, HARMFUL)]

    assert [[], ["HARMFUL"]] == [reasons(verdict) for verdict in verdicts]


def test_the_client_says_it(slow_server: Server):
    """Bulk by the client's settings, and interactive by the call."""
    with SafetyFilter(targets=slow_server.target, timeout_s=PATIENT_S, priority="bulk") as safety_filter:
        begun_s = time.monotonic()
        bulk = safety_filter.screen(completion=BENIGN)
        interactive = safety_filter.screen(completion=BENIGN, priority="interactive")

    assert (True, True) == (bool(bulk), bool(interactive))
    assert time.monotonic() - begun_s >= 2 * RUN_S
