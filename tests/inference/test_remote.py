"""Remote members: the same evidence and the same deadlines, over calls that wait, fail and are cancelled."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from fakes import BENIGN, CATEGORIES, FakeBackend, fake_member, scores
from interlock_server.backends.backend import BatchRule, ScoreError, Window
from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.panel import Panel, Question
from interlock_server.inference.scoring import Member
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.text.exchange import Exchange

PATIENT_S = 30.0


class FakeRemote(FakeBackend):
    """A server in a coroutine: `reply` is awaited for each call."""

    lane = "remote"
    slots = 2

    def __init__(
        self, reply: Callable[[Sequence[Window]], Awaitable[Any]], windows: int = 1, size_max: int = 8
    ) -> None:
        super().__init__(windows=windows)
        self.batching = BatchRule(size_max=size_max)
        self.reply = reply
        self.calls: list[int] = []

    async def connect(self) -> None:
        """Always there."""

    async def score(self, windows: Sequence[Window], deadline_s: float) -> Any:  # type: ignore[override]
        """Whatever `reply` does."""
        self.calls.append(len(windows))
        return await self.reply(windows)

    async def close(self) -> None:  # type: ignore[override]
        """Remembers."""
        self.closed = True


async def good(windows: Sequence[Window]) -> Any:
    return np.concatenate([scores() for _ in windows])


async def never(windows: Sequence[Window]) -> Any:
    await asyncio.sleep(3_600)


def raising(error: Exception) -> Callable[[Sequence[Window]], Awaitable[Any]]:
    async def reply(windows: Sequence[Window]) -> Any:
        raise error

    return reply


def remote(reply: Callable[[Sequence[Window]], Awaitable[Any]] = good, **options: int) -> Member:
    return Member("far", tuple(CATEGORIES), FakeRemote(reply, **options))  # type: ignore[arg-type]


@asynccontextmanager
async def running(*members: Member, **settings: Any) -> AsyncIterator[Panel]:
    panel = Panel(members, [], InferenceSettings(**{"lanes": 2, **settings}), Metrics())
    panel.start()
    try:
        yield panel
    finally:
        await panel.close()


async def ask(panel: Panel, within_s: float = PATIENT_S) -> dict[str, MissingCause | None]:
    question = Question(lambda: Exchange("", BENIGN), len(BENIGN), time.monotonic() + within_s)
    return {r.evidence.member: r.evidence.missing for r in (await panel.ask(question)).reports}


async def test_near_and_far_answer_together():
    """One verdict's evidence from two places."""
    async with running(fake_member("near"), remote()) as panel:
        assert {"near": None, "far": None} == await ask(panel)


async def test_windows_share_a_call():
    """As many as the rule allows."""
    far = remote(windows=6, size_max=4)
    async with running(far) as panel:
        await ask(panel)

    assert [4, 2] == far.backend.calls  # type: ignore[union-attr]


async def test_no_more_calls_than_slots():
    """The rest waits here, where its deadline is watched."""
    release = asyncio.Event()

    async def waits(windows: Sequence[Window]) -> Any:
        await release.wait()
        return await good(windows)

    far = remote(waits, size_max=1)
    async with running(far) as panel:
        tasks = [asyncio.create_task(ask(panel)) for _ in range(5)]
        await asyncio.sleep(0.2)
        under_way = len(far.backend.calls)  # type: ignore[union-attr]
        release.set()

        assert [{"far": None}] * 5 == await asyncio.gather(*tasks)
        assert 2 == under_way


async def test_a_server_that_hangs_is_not_waited_for():
    """The near member's evidence is there, the far one's is missing."""
    async with running(fake_member("near"), remote(never)) as panel:
        assert {"near": None, "far": MissingCause.TIMED_OUT} == await ask(panel, within_s=0.3)


async def test_a_server_that_keeps_hanging_is_not_asked():
    """That it was late is its own fault, when it had time."""
    async with running(remote(never), breaker_failures=2, breaker_open_ms=600_000) as panel:
        for _ in range(2):
            await ask(panel, within_s=0.3)
            await asyncio.sleep(0.1)

        assert {"far": MissingCause.BREAKER_OPEN} == await ask(panel)


async def test_a_caller_who_leaves_cancels_the_call():
    """So that the server can drop the work."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def notices(windows: Sequence[Window]) -> Any:
        begun.set()
        try:
            await never(windows)
        finally:
            cancelled.set()

    async with running(remote(notices)) as panel:
        leaving = asyncio.create_task(ask(panel))
        await asyncio.wait_for(begun.wait(), PATIENT_S)
        leaving.cancel()
        await asyncio.wait([leaving])

        assert await asyncio.wait_for(cancelled.wait(), PATIENT_S)


@pytest.mark.parametrize("cause", ["TIMED_OUT", "FAILED", "INVALID", "OVERLOADED"])
async def test_the_cause_is_the_servers_own(cause: Any):
    """As the backend understood it."""
    async with running(remote(raising(ScoreError(cause)))) as panel:
        assert {"far": MissingCause[cause]} == await ask(panel)


async def test_an_error_nobody_thought_of_is_a_failure():
    """And quotes nothing."""
    async with running(remote(raising(RuntimeError(BENIGN)))) as panel:
        assert {"far": MissingCause.FAILED} == await ask(panel)


async def test_too_few_rows_are_invalid():
    """None is made up."""

    async def short(windows: Sequence[Window]) -> Any:
        return scores()

    async with running(remote(short, windows=2)) as panel:
        assert {"far": MissingCause.INVALID} == await ask(panel)


async def test_closing_hangs_up():
    """With a call under way."""
    far = remote(never)
    async with running(far) as panel:
        task = asyncio.create_task(ask(panel, within_s=1.0))
        await asyncio.sleep(0.1)

    assert {"far": MissingCause.TIMED_OUT} == await task
    assert far.backend.closed  # type: ignore[union-attr]
