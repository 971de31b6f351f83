"""Servers by script, and the clients behind one face, so that a test is written once and runs for all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from interlock_client import AsyncGuarded, AsyncSafetyFilter, Generated, Guarded, SafetyFilter, Selection, Verdict

from .fake_service import Behaviour, FakeService

Serve = Callable[..., FakeService]
Connect = Callable[..., "AwaitedFilter"]


class AwaitedFilter:
    """Either client, awaited: the one for threads gets a thread."""

    def __init__(self, client: SafetyFilter | AsyncSafetyFilter) -> None:
        self.client = client

    def screen(self, **arguments: Any) -> Awaitable[Verdict]:
        return self._call(self.client.screen, **arguments)

    def screen_batch(self, *arguments: Any, **named: Any) -> Awaitable[list[Verdict]]:
        return self._call(self.client.screen_batch, *arguments, **named)

    def select(self, *arguments: Any, **named: Any) -> Awaitable[Selection]:
        return self._call(self.client.select, *arguments, **named)

    def generate_safely(self, *arguments: Any, **named: Any) -> Awaitable[Generated]:
        return self._call(self.client.generate_safely, *arguments, **named)

    def report(self, *arguments: Any, **named: Any) -> Awaitable[None]:
        return self._call(self.client.report, *arguments, **named)

    def guard(self, *arguments: Any, **named: Any) -> "AwaitedGuard":
        return AwaitedGuard(self.client.guard(*arguments, **named))

    def ensemble(self, **arguments: Any) -> Awaitable[Any]:
        return self._call(self.client.ensemble, **arguments)

    def close(self) -> Awaitable[None]:
        return self._call(self.client.close)

    def _call(self, method: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(self.client, AsyncSafetyFilter):
            return method(*arguments, **named)
        return asyncio.to_thread(method, *arguments, **named)


END = object()


class AwaitedGuard:
    """Either guard, awaited."""

    def __init__(self, guard: Guarded[Any] | AsyncGuarded[Any]) -> None:
        self.guard = guard

    def __aiter__(self) -> "AwaitedGuard":
        return self

    async def __anext__(self) -> Any:
        if isinstance(self.guard, AsyncGuarded):
            return await anext(self.guard)
        text = await asyncio.to_thread(next, self.guard, END)
        if text is END:
            raise StopAsyncIteration
        return text

    async def close(self) -> None:
        await (self.guard.aclose() if isinstance(self.guard, AsyncGuarded) else asyncio.to_thread(self.guard.close))

    @property
    def verdict(self) -> Verdict:
        return self.guard.verdict


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that behaves by script."""
    services: list[FakeService] = []

    def start(*script: Behaviour) -> FakeService:
        services.append(FakeService(*script))
        return services[-1]

    yield start
    for service in services:
        service.stop()


KINDS = {
    "threads": SafetyFilter,
    "asyncio": AsyncSafetyFilter,
    "multiplexed": partial(AsyncSafetyFilter, multiplexed=True),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Opens a client of every kind; calls have ample time unless the test says otherwise."""
    async for connecting in _connecting(request.param):
        yield connecting


@pytest.fixture(params=["threads", "asyncio"])
async def connect_one(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """The same, for calls that are never multiplexed."""
    async for connecting in _connecting(KINDS[request.param]):
        yield connecting


async def _connecting(kind: Callable[..., SafetyFilter | AsyncSafetyFilter]) -> AsyncIterator[Connect]:
    clients: list[AwaitedFilter] = []

    def opened(targets: Any, **settings: Any) -> AwaitedFilter:
        clients.append(AwaitedFilter(kind(targets=targets, **{"timeout_s": 10.0, **settings})))
        return clients[-1]

    yield opened
    for client in clients:
        await client.close()
