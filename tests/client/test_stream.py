"""The stream of the asyncio client: what it shares, what it survives, and that nobody waits for what cannot come."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from interlock_client import AsyncSafetyFilter, LocalReason
from interlock_client.stream import SETTLING_S

from . import fake_service
from .conftest import Serve
from .fake_service import Call, FakeService

LARGE = "a" * 100_000


@pytest.fixture
async def open_client() -> AsyncIterator[type[AsyncSafetyFilter]]:
    """Opens multiplexed clients."""
    clients: list[AsyncSafetyFilter] = []

    def opened(service: FakeService, **settings: object) -> AsyncSafetyFilter:
        arguments = {"targets": [service.target], "timeout_s": 10.0, "retry": None, **settings}
        clients.append(AsyncSafetyFilter(multiplexed=True, **arguments))
        return clients[-1]

    yield opened
    for client in clients:
        await client.close()


def hang_if_slow(call: Call) -> bytes:
    if b"slow" in call.exchanges[0].completion:
        return fake_service.hang(call)
    return fake_service.release(call)


async def begun(service: FakeService, client: AsyncSafetyFilter, timeout_s: float = 10.0) -> asyncio.Task:
    """A call that hangs at the server."""
    task = asyncio.create_task(client.screen(completion="slow", timeout_s=timeout_s))
    await asyncio.to_thread(service.called.wait, 10)
    return task


async def test_calls_share_a_stream(serve: Serve, open_client):
    """One stream for each server, however many calls."""
    service = serve(fake_service.release)
    client = open_client(service)
    verdicts = await asyncio.gather(*(client.screen(completion=str(i)) for i in range(20)))

    assert all(verdicts)
    assert (1, 20) == (service.streams_opened, len(service.calls))


async def test_a_slow_call_holds_up_no_other(serve: Serve, open_client):
    """Answers come in the order in which they are done."""
    service = serve(hang_if_slow)
    client = open_client(service)
    slow = await begun(service, client)

    assert await client.screen(completion="quick")
    assert not slow.done()
    slow.cancel()


async def test_a_mistaken_item_ends_itself_only(serve: Serve, open_client):
    """The stream goes on, and so do the calls that wait on it."""
    service = serve(hang_if_slow, fake_service.fail(grpc.StatusCode.INVALID_ARGUMENT), fake_service.release)
    client = open_client(service)
    slow = await begun(service, client)
    verdict = await client.screen(completion="mistake")

    assert (LocalReason.REFUSED,) == verdict.reasons
    assert await client.screen(completion="fine")
    assert (False, 1) == (slow.done(), service.streams_opened)
    slow.cancel()


async def test_a_call_that_is_out_of_time_is_withdrawn(serve: Serve, open_client):
    """The caller gets his verdict in time, and the server drops the work."""
    service = serve(hang_if_slow)
    client = open_client(service)
    begun_s = time.monotonic()
    verdict = await client.screen(completion="slow", timeout_s=0.3)
    assert await client.screen(completion="quick")

    assert (LocalReason.DEADLINE,) == verdict.reasons
    assert time.monotonic() - begun_s < 5
    assert [1] == service.cancelled


async def test_a_cancelled_call_is_withdrawn(serve: Serve, open_client):
    """And the stream goes on."""
    service = serve(hang_if_slow)
    client = open_client(service)
    slow = await begun(service, client)
    slow.cancel()
    await asyncio.wait([slow])
    assert await client.screen(completion="quick")

    assert ([1], 1) == (service.cancelled, service.streams_opened)


async def test_a_server_that_dies_withholds_every_call(serve: Serve, open_client):
    """At once, whatever time they have left."""
    service = serve(fake_service.hang)
    client = open_client(service)
    slow = await begun(service, client, timeout_s=60.0)
    begun_s = time.monotonic()
    await asyncio.to_thread(service.kill)
    verdict = await slow

    assert (False, True) == (bool(verdict), verdict.local)
    assert verdict.reasons[0] in (LocalReason.UNREACHABLE, LocalReason.CANCELLED)
    assert time.monotonic() - begun_s < 10


async def test_closing_ends_a_call_that_has_just_begun(serve: Serve, open_client):
    """Before its stream has sent or read anything."""
    client = open_client(serve(fake_service.release))
    call = asyncio.create_task(client.screen(completion="hello", timeout_s=60.0))
    await asyncio.sleep(0)
    await client.close()
    verdict = await asyncio.wait_for(call, 10)

    assert (LocalReason.CLIENT_CLOSED,) == verdict.reasons


async def test_a_lost_stream_is_opened_again(serve: Serve, open_client):
    """By the next call."""
    service = serve(fake_service.release)
    client = open_client(service)
    assert await client.screen(completion="one")
    service.end_streams()
    verdicts = [await client.screen(completion="two") for _ in range(3)]

    assert all(verdicts)
    assert 2 == service.streams_opened


async def test_what_an_ended_stream_did_not_read_is_asked_again(serve: Serve, open_client):
    """A stream that ends with OK judged nothing that it did not answer: not an outage, so it needs no retry."""
    service = serve(fake_service.hang, fake_service.release)
    client = open_client(service)
    slow = await begun(service, client)
    service.end_streams()

    assert await slow
    assert ["ScreenBatch"] * 2 == [call.method for call in service.calls]


async def test_a_server_without_streams_is_asked_in_the_old_way(serve: Serve, open_client):
    """During an upgrade both kinds of server are there."""
    service = serve(fake_service.release)
    service.streams = False

    assert await open_client(service).screen(completion="hello")
    assert 0 == service.streams_opened


@pytest.mark.parametrize("arguments", [{"completion": LARGE}, {"completion": "a", "request_id": "r-1"}])
async def test_some_calls_go_by_themselves(serve: Serve, open_client, arguments: dict[str, str]):
    """Large ones would hold up the others, and metadata belongs to a whole stream."""
    service = serve(fake_service.release)

    assert await open_client(service).screen(**arguments)
    assert (0, 1) == (service.streams_opened, len(service.calls))


async def test_an_answer_that_is_no_message_ends_the_stream(serve: Serve, open_client):
    """Nothing else on it can be trusted; the next call opens another one."""
    service = serve(fake_service.garbage, fake_service.release)
    client = open_client(service)

    assert (LocalReason.MALFORMED_RESPONSE,) == (await client.screen(completion="one")).reasons
    assert await client.screen(completion="two")
    assert 2 == service.streams_opened


async def test_streams_are_spread_over_servers(serve: Serve, open_client):
    """Each stays with one server, so there is one for each, opened when the balancer has had time to find them all."""
    services = [serve(fake_service.release) for _ in range(3)]
    client = open_client(services[0], targets=[service.target for service in services])
    assert await client.screen(completion="early")
    await asyncio.sleep(2 * SETTLING_S)
    assert all([await client.screen(completion="later") for _ in range(30)])

    assert [1, 1, 1] == [service.streams_opened for service in services]
    assert all(9 <= len(service.calls) <= 12 for service in services)
