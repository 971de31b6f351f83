"""Where calls go: one address or several, dead servers, deadlines of the connection, several loops and threads."""

import asyncio
import json
import threading

import pytest
from interlock_client import AsyncSafetyFilter, SafetyFilter, SettingsError, Verdict
from interlock_client.channel import OPTIONS, address, servers
from interlock_client.screening import SERVICE

from . import fake_service
from .conftest import Connect, Serve


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("filter.example:443", "filter.example:443"),
        ("dns:///filter.example:443", "dns:///filter.example:443"),
        (["filter.example:443"], "filter.example:443"),
        (["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (["[::1]:1", "[::2]:2"], "ipv6:[::1]:1,[::2]:2"),
    ],
)
def test_address(targets: str | list[str], expected: str) -> None:
    """One target is passed on, several addresses become a list."""
    assert expected == address(targets)


@pytest.mark.parametrize("targets", [[], "", "no-port", ["a:1", "b:2"], ["10.0.0.1:1", "[::1]:1"], ["10.0.0.1:1", 3]])
def test_impossible_address(targets: list[str]) -> None:
    """What gRPC cannot resolve is refused on construction."""
    with pytest.raises(SettingsError, match="targets"):
        SafetyFilter(targets=targets)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [("10.0.0.1:1", 1), (["[::1]:1"], 1), (["10.0.0.1:1", "10.0.0.2:2"], 2), ("filter.example:443", 4)],
)
def test_servers(targets: str | list[str], expected: int) -> None:
    """An address is one server; a name may be several."""
    assert expected == servers(targets)


def test_options_keep_promises() -> None:
    """Round robin over healthy servers, no retries below ours nor by a service config from DNS, no shared connections."""
    options = dict(OPTIONS)

    config = json.loads(options["grpc.service_config"])
    assert (config["loadBalancingConfig"], config["healthCheckConfig"]) == (
        [{"round_robin": {}}],
        {"serviceName": SERVICE},
    )
    assert (options["grpc.enable_retries"], options["grpc.service_config_disable_resolution"]) == (0, 1)


async def test_round_robin_uses_all(serve: Serve, connect: Connect) -> None:
    """Calls are spread over the servers."""
    services = [serve(fake_service.release), serve(fake_service.release)]
    client = connect([service.target for service in services])
    for _ in range(20):
        assert await client.screen(completion="hello")

    assert all(service.calls for service in services)


async def test_round_robin_avoids_the_dead(serve: Serve, connect: Connect) -> None:
    """With one of two servers dead, every call is answered."""
    dead, alive = serve(fake_service.release), serve(fake_service.release)
    client = connect([dead.target, alive.target])
    dead.stop()
    verdicts = [await client.screen(completion="hello") for _ in range(10)]

    assert all(verdicts)


async def test_single_name_is_resolved(serve: Serve, connect: Connect) -> None:
    """A host name works as the only target."""
    assert await connect(f"localhost:{serve(fake_service.release).port}").screen(completion="hello")


async def test_parallel_calls_do_not_mix(serve: Serve, connect: Connect) -> None:
    """Calls at the same time each get the verdict on their own text."""
    client = connect(serve(fake_service.judge(fake_service.unless_bad)).target)
    texts = [("bad" if i % 3 == 0 else "good") + str(i) for i in range(40)]
    verdicts = await asyncio.gather(*(client.screen(completion=text) for text in texts))

    assert [text.startswith("good") for text in texts] == [bool(verdict) for verdict in verdicts]


def test_threads_share_one_channel(serve: Serve) -> None:
    """Threads that make the first call together use one connection."""
    service = serve(fake_service.release)
    with SafetyFilter(targets=service.target, timeout_s=10) as client:
        threads = [threading.Thread(target=client.screen, kwargs={"completion": "hello"}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (len(service.calls), len({call.peer for call in service.calls})) == (8, 1)


def test_several_event_loops(serve: Serve) -> None:
    """An asyncio client outlives the loop that it was first used in."""
    client = AsyncSafetyFilter(targets=serve(fake_service.release).target, timeout_s=10)

    async def screen() -> Verdict:
        return await client.screen(completion="hello")

    assert [bool(asyncio.run(screen())) for _ in range(2)] == [True, True]
    asyncio.run(client.close())


async def test_cancellation_passes_through(serve: Serve) -> None:
    """A cancelled task is cancelled, not answered."""
    service = serve(fake_service.hang)
    async with AsyncSafetyFilter(targets=service.target, timeout_s=10) as client:
        task = asyncio.create_task(client.screen(completion="hello"))
        await asyncio.to_thread(service.called.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
