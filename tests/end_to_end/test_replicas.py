"""Several servers behind one client: load is spread, and one that warms up, drains or dies costs no verdict."""

import asyncio
import time
from collections.abc import Callable

import pytest
from fakes import BENIGN
from grpc_health.v1 import health_pb2
from interlock_client import AsyncSafetyFilter, RetrySettings

from .conftest import StartServer
from .server import PATIENT_S, Server, free_port

WAYS = pytest.mark.parametrize("multiplexed", [False, True], ids=["calls", "streams"])


def screened(server: Server) -> float:
    return server.metric("interlock_verdicts_total")


def ask_all_the_time(servers: list[str], during: Callable[[], None], **settings: object) -> list[bool]:
    """Whether each of many calls was released, while `during` happens to the servers."""

    async def run() -> list[bool]:
        released: list[bool] = []
        async with AsyncSafetyFilter(targets=servers, timeout_s=PATIENT_S, **settings) as safety_filter:

            async def call() -> None:
                while not over.done() or time.monotonic() < ends_s:
                    released.append(bool(await safety_filter.screen(completion=BENIGN)))

            ends_s = time.monotonic() + 2.0
            over = asyncio.ensure_future(asyncio.to_thread(during))
            await asyncio.gather(over, *(call() for _ in range(8)))
        return released

    return asyncio.run(run())


@WAYS
def test_load_is_spread(start_server: StartServer, multiplexed: bool):
    """No server has much more than its share."""
    servers = [start_server() for _ in range(3)]
    before = [screened(server) for server in servers]
    released = ask_all_the_time([one.target for one in servers], lambda: None, multiplexed=multiplexed)
    shares = [(screened(server) - had) / len(released) for server, had in zip(servers, before, strict=True)]

    assert all(released)
    assert all(0.15 < share < 0.6 for share in shares), shares


@WAYS
def test_a_server_that_drains_costs_no_verdict(start_server: StartServer, multiplexed: bool):
    """Its callers go to the others, without one failed call."""
    servers = [start_server() for _ in range(3)]

    def drain_one() -> None:
        time.sleep(1.0)
        assert 0 == servers[0].stop()

    released = ask_all_the_time([one.target for one in servers], drain_one, multiplexed=multiplexed)

    assert len(released) > 100
    assert all(released)


@WAYS
def test_a_server_that_dies_costs_no_verdict(start_server: StartServer, multiplexed: bool):
    """What it had begun is asked again elsewhere."""
    servers = [start_server() for _ in range(3)]

    def kill_one() -> None:
        time.sleep(1.0)
        servers[0].process.kill()

    # By default a burst of failures ends retries, which is right for an outage; here many calls fail at the same moment.
    retry = RetrySettings(tokens_max=100.0)
    targets = [one.target for one in servers]

    assert all(ask_all_the_time(targets, kill_one, multiplexed=multiplexed, retry=retry))


@WAYS
def test_a_server_that_is_not_serving_is_passed_over(start_server: StartServer, multiplexed: bool):
    """It listens and would refuse; a client without retries never notices."""
    ready, port = start_server(), free_port()
    address = f"127.0.0.1:{port}"
    warming = start_server(ready=False, address=address, scripts={"alpha": {"mode": "hang"}})
    warming.connect(address)
    said = warming.health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENT_S)
    assert health_pb2.HealthCheckResponse.NOT_SERVING == said.status

    released = ask_all_the_time([ready.target, address], lambda: None, multiplexed=multiplexed, retry=None)
    warming.script("alpha")
    assert all(released)
