"""How a guarded stream ends other than with its verdict: failures, limits, and consumers who leave. Nobody hangs."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from interlock_client import AsyncSafetyFilter, LocalReason, SafetyFilter

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import hanging
from .sources import BAD, FINE, Source, all_of, asynchronous, within


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, LocalReason.UNREACHABLE),
        (grpc.StatusCode.INVALID_ARGUMENT, LocalReason.REFUSED),
        (grpc.StatusCode.UNIMPLEMENTED, LocalReason.REFUSED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, LocalReason.TOO_LARGE),
        (grpc.StatusCode.INTERNAL, LocalReason.SERVER_ERROR),
    ],
)
async def test_a_failure_withholds(serve: Serve, connect_one: Connect, status: grpc.StatusCode, reason: LocalReason):
    """At once, with a local reason; what the server says of the text stays away."""
    service, source = serve(), Source(["One Xanadu. ", "Two. ", "Three."], stop_before=2)
    service.guard = fake_service.after(b"Two", fake_service.failing(status))
    guard = connect_one(service.target).guard(source)
    _, withheld = await all_of(guard)

    assert ((reason,), True) == (withheld.verdict.reasons, withheld.verdict.local)
    assert f"{reason} after {withheld.verdict.released_bytes} bytes" == str(withheld)
    assert "Xanadu" not in repr(withheld) + repr(guard.verdict)
    source.go_on.set()


async def test_garbage_withholds(serve: Serve, connect_one: Connect):
    """Wrong digests, wrong counts and no messages are all in test_guarding; here is one of them on the wire."""
    service = serve()
    service.guard = fake_service.releasing_what_never_came
    _, withheld = await all_of(connect_one(service.target).guard(FINE))

    assert (LocalReason.MALFORMED_RESPONSE,) == withheld.verdict.reasons
    assert await within(service.guards[0].over)


async def test_a_server_that_dies_withholds_at_once(serve: Serve, connect_one: Connect):
    """Nothing more comes out, and the consumer does not hang."""
    service, source = serve(), Source(FINE, stop_before=2)
    guard = connect_one(service.target).guard(source)
    assert await anext(guard)
    await within(source.stopped)
    await asyncio.to_thread(service.kill)
    begun_s = time.monotonic()
    out, withheld = await all_of(guard)

    assert "Two fish. ".startswith("".join(out))
    assert withheld.verdict.reasons[0] in (LocalReason.UNREACHABLE, LocalReason.CANCELLED)
    assert time.monotonic() - begun_s < 10
    source.go_on.set()


async def test_nobody_there(connect_one: Connect):
    """Is a withheld verdict as for any call."""
    out, withheld = await all_of(connect_one("127.0.0.1:1").guard(FINE))

    assert ([], (LocalReason.UNREACHABLE,)) == (out, withheld.verdict.reasons)


@pytest.mark.parametrize("limits", [{"timeout_s": 0.3}, {"idle_timeout_s": 0.3}, {"timeout_s": -1}])
async def test_a_server_that_hangs_costs_the_limit(serve: Serve, connect_one: Connect, limits: dict[str, float]):
    """Of the whole stream, or of idleness."""
    service, begun_s = serve(), time.monotonic()
    service.guard = hanging
    out, withheld = await all_of(connect_one(service.target).guard(FINE, **limits))

    assert ([], (LocalReason.DEADLINE,)) == (out, withheld.verdict.reasons)
    assert time.monotonic() - begun_s < 10


async def test_a_source_that_hangs_costs_the_limit(serve: Serve, connect_one: Connect):
    """The consumer does not hang with it."""
    source = Source(FINE, stop_before=1)
    guard = connect_one(serve().target).guard(source, idle_timeout_s=0.3)
    out, withheld = await all_of(guard)

    assert (["One fish. "], (LocalReason.DEADLINE,), "IDLE") == (out, withheld.verdict.reasons, withheld.verdict.cause)
    source.go_on.set()


async def test_errors_of_the_source_pass_through(serve: Serve, connect_one: Connect):
    """Unchanged, after what was released; the server gets no end."""
    service, error, broken = serve(), RuntimeError("out of memory"), threading.Event()

    def source() -> Iterator[str]:
        yield "One fish. "
        assert broken.wait(60)
        raise error

    guard = connect_one(service.target).guard(source())
    assert "One fish. " == await anext(guard)
    broken.set()
    with pytest.raises(RuntimeError) as caught:
        await anext(guard)

    assert error is caught.value
    assert (False, ([], None)) == (bool(guard.verdict), await all_of(guard))
    assert await within(service.guards[0].over)
    assert not service.guards[0].ended


async def test_closing_early_ends_everything(serve: Serve, connect_one: Connect):
    """The call and the source, and nothing more comes out."""
    service, source = serve(), Source(FINE * 50_000)
    guard = connect_one(service.target).guard(source)
    await anext(guard)
    await guard.close()
    await guard.close()

    assert (True, True) == (await within(service.guards[0].over), await within(source.closed))
    assert ([], None) == await all_of(guard)
    assert (LocalReason.CANCELLED,) == guard.verdict.reasons


async def test_closing_before_the_beginning(serve: Serve, connect_one: Connect):
    """Asks nobody and closes the source."""
    service, source = serve(), iter(Source(FINE))
    next(source)
    guard = connect_one(service.target).guard(source)
    await guard.close()

    assert ([], [], ([], None)) == (list(source), service.guards, await all_of(guard))


def test_break_ends_everything(serve: Serve):
    """A loop that is left drops the guard, which ends the call and the source; no thread stays."""
    service, source = serve(), Source(FINE * 50_000)
    with SafetyFilter(targets=service.target) as client:
        for _ in client.guard(source):
            break
        assert service.guards[0].over.wait(20)
        assert source.closed.wait(20)

    assert eventually(lambda: not [one for one in threading.enumerate() if one.name == "interlock-guard"])


def eventually(holds) -> bool:
    ends_s = time.monotonic() + 20
    while not holds() and time.monotonic() < ends_s:
        time.sleep(0.01)
    return bool(holds())


def tasks_of_guards() -> set[asyncio.Task]:
    return {task for task in asyncio.all_tasks() if "AsyncFlow" in repr(task.get_coro())}


async def test_break_ends_everything_in_a_loop(serve: Serve):
    """Python closes what a broken loop leaves as soon as the loop runs on."""
    service, closed = serve(), asyncio.Event()

    async def source():
        try:
            for piece in FINE * 100:
                await asyncio.sleep(0)
                yield piece
        finally:
            closed.set()

    async with AsyncSafetyFilter(targets=service.target) as client:
        async for _ in client.guard(source()):
            break
        gc.collect()
        await asyncio.wait_for(closed.wait(), 20)
        assert await within(service.guards[0].over)
        if tasks := tasks_of_guards():
            await asyncio.wait(tasks, timeout=20)

    assert set() == tasks_of_guards()


async def test_a_cancelled_consumer_ends_everything(serve: Serve):
    """The task that waits is cancelled, and with it the call and the source."""
    service, waiting, closed = serve(), asyncio.Event(), asyncio.Event()

    async def source():
        yield "One fish. "
        try:
            waiting.set()
            await asyncio.sleep(60)
        finally:
            closed.set()

    async with AsyncSafetyFilter(targets=service.target) as client:
        task = asyncio.create_task(all_of(client.guard(source())))
        await asyncio.wait_for(waiting.wait(), 20)
        assert await within(service.called)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await within(service.guards[0].over)

    assert closed.is_set()
    assert set() == tasks_of_guards()


async def test_the_verdict_is_not_lost_in_a_race(serve: Serve):
    """A server that withholds and ends while the client writes is still understood."""
    async with AsyncSafetyFilter(targets=serve(fake_service.release).target) as client:
        ends = [await all_of(client.guard(asynchronous(BAD * 20))) for _ in range(100)]

    assert {("HARMFUL", "DISAGREEMENT")} == {withheld.verdict.reasons for _, withheld in ends}
