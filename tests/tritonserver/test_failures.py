"""A real server that is slow, full, stopped, ended or another one: each costs a call at most, and never gives a score."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interlock_server.backends.backend import ScoreError
from interlock_server.backends.triton import TritonBackend

from .members import connected, windows
from .repository import write_model
from .server import TritonServer, serve

SLOW_S = 0.25


async def score(backend: TritonBackend, timeout_s: float = 20) -> tuple[int, ...]:
    """The shape of the scores of a text of one window."""
    return (await backend.score(windows(backend), time.monotonic() + timeout_s)).shape


async def outcome(backend: TritonBackend, timeout_s: float = 20) -> tuple[str, bool]:
    """What a call comes to: the cause for which it has no scores, or OK; and whether the model is lost."""
    try:
        await score(backend, timeout_s)
    except ScoreError as error:
        return error.cause, error.lost
    return "OK", False


async def eventually(holds: Callable[[], Any]) -> None:
    """Waits until it does."""
    ends_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends_s, "it never came true"
        await asyncio.sleep(0.02)


async def eventually_scores(backend: TritonBackend) -> None:
    """Waits until the server is there, and the model is the one that it was."""
    await eventually(lambda: not backend.complaints)
    assert ("OK", False) == await outcome(backend)


@contextmanager
def slow(server: TritonServer, delay_s: float = SLOW_S) -> Iterator[None]:
    """Each request takes so long, one after the other."""
    server.slow_down(delay_s)
    try:
        yield
    finally:
        server.slow_down(0)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[TritonServer]:
    """A server that the test may end."""
    running = serve(tmp_path)
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server on which two requests may wait, in calls of one window."""
    running = serve(tmp_path_factory.mktemp("limited"), queue_max=2, batch_max=1)
    try:
        yield running
    finally:
        running.kill()


async def test_a_stopped_server_costs_no_more_than_the_deadline(server: TritonServer):
    """And nothing at all once it goes on."""
    async with connected(server.endpoint) as backend:
        server.pause()
        try:
            begun_s = time.monotonic()
            found = await outcome(backend, 0.3)
            took_s = time.monotonic() - begun_s
        finally:
            server.go_on()
        await eventually_scores(backend)

    assert ("TIMED_OUT", False) == found
    assert 0.25 < took_s < 0.6


async def test_a_stopped_server_is_passed_over(server: TritonServer, own: TritonServer):
    """After one call that it lets wait, the others go to the other one."""
    async with connected(server.endpoint, own.endpoint, rest_ms=10_000) as backend:
        server.pause()
        try:
            found = [(await outcome(backend, 0.5))[0] for _ in range(6)]
        finally:
            server.go_on()

    assert 1 == found.count("TIMED_OUT")
    assert 5 == found.count("OK")


async def test_a_server_that_is_killed_is_lost_until_it_is_looked_at_again(own: TritonServer):
    """It comes back by itself, if it is the same model."""
    async with connected(own.endpoint) as backend:
        own.kill()
        found = [await outcome(backend), await outcome(backend)]
        again = TritonServer(own.repository, own.port)
        try:
            again.wait_ready()
            await eventually_scores(backend)
        finally:
            again.kill()

    assert 2 * [("FAILED", True)] == found


async def test_another_model_behind_the_same_address_is_not_asked(own: TritonServer):
    """Its inputs and outputs are the same, its scores are not."""
    async with connected(own.endpoint) as backend:
        own.kill()
        write_model(own.repository, scale=2.0)
        again = TritonServer(own.repository, own.port)
        try:
            again.wait_ready()
            await eventually(lambda: ["scores are off"] == list(backend.complaints.values()))
            found = await outcome(backend)
        finally:
            again.kill()

    assert ("FAILED", True) == found


async def test_a_killed_server_is_replaced_by_another(own: TritonServer, server: TritonServer):
    """No call is lost, also of those under way."""
    async with connected(own.endpoint, server.endpoint) as backend:
        with slow(own):
            calls = [asyncio.create_task(outcome(backend)) for _ in range(8)]
            await asyncio.sleep(SLOW_S / 2)
            own.kill()
            found = await asyncio.gather(*calls)

        assert [own.endpoint] == list(backend.complaints)
    assert 8 * [("OK", False)] == found


async def test_a_draining_server_is_replaced_by_another(own: TritonServer, server: TritonServer):
    """It still answers what it began, and says of the rest that it has no such model."""
    async with connected(own.endpoint, server.endpoint) as backend:
        with slow(own, 1.0):
            under_way = [asyncio.create_task(outcome(backend)) for _ in range(2)]
            await asyncio.sleep(0.2)
            own.drain()
            await asyncio.sleep(0.2)
            found = [await outcome(backend) for _ in range(8)]
            found += await asyncio.gather(*under_way)

        assert [own.endpoint] == list(backend.complaints)
    assert 10 * [("OK", False)] == found


async def test_a_draining_server_alone_is_lost(own: TritonServer):
    """Nobody is left to ask."""
    async with connected(own.endpoint) as backend:
        with slow(own, 1.0):
            under_way = asyncio.create_task(outcome(backend))
            await asyncio.sleep(0.2)
            own.drain()
            await asyncio.sleep(0.2)
            found = await outcome(backend)

        assert ("FAILED", True) == found
        assert ("OK", False) == await under_way


async def test_a_model_whose_process_dies_is_lost(own: TritonServer):
    """The server goes on saying that the model is ready; that is not believed without a score."""
    async with connected(own.endpoint) as backend:
        own.kill_models()
        found = await outcome(backend)
        complaint = "the model is there, but its scores are FAILED"
        await eventually(lambda: {own.endpoint: complaint} == backend.complaints)

    assert ("FAILED", True) == found


async def test_a_full_queue_is_said_to_be_full(limited: TritonServer):
    """One request runs, some wait, and the rest are sent away at once."""
    async with connected(limited.endpoint) as backend:
        with slow(limited):
            found = await asyncio.gather(*(outcome(backend) for _ in range(12)))
        await eventually_scores(backend)

    assert {("OK", False), ("OVERLOADED", False)} == set(found)


async def test_a_request_that_waits_for_too_long_is_too_late(limited: TritonServer):
    """Whether the server says so or the clock does. It is not run."""
    async with connected(limited.endpoint) as backend:
        before = limited.statistics()
        with slow(limited):
            first = asyncio.create_task(outcome(backend))
            await asyncio.sleep(SLOW_S / 4)
            late = await outcome(backend, SLOW_S / 4)
            await first
        await eventually(lambda: limited.statistics()["fail"] > before["fail"])

    assert ("TIMED_OUT", False) == late
    assert 1 == limited.statistics()["success"] - before["success"]


async def test_cancelled_calls_do_not_keep_the_server(server: TritonServer):
    """Ten that wait are given up; whoever comes then waits for the one that runs, at most for one more."""
    async with connected(server.endpoint) as backend:
        with slow(server):
            calls = [asyncio.create_task(outcome(backend)) for _ in range(10)]
            await asyncio.sleep(SLOW_S / 2)
            for call in calls:
                call.cancel()
            given_up = await asyncio.gather(*calls, return_exceptions=True)
            begun_s = time.monotonic()
            await score(backend)
            took_s = time.monotonic() - begun_s

    assert all(isinstance(each, asyncio.CancelledError) for each in given_up)
    assert took_s < 3.5 * SLOW_S
