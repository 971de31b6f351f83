"""Verdicts that must be asked for, of models or of a server: some under way at once, counted in the order of the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple, Protocol

from interlock_server.audit.reader import entries
from interlock_server.audit.record import Decided, VerdictRecord

from interlock_lab.replay.engines import Numbered, Tallies
from interlock_lab.replay.redecide import Job, Wanted, tell, verdicts
from interlock_lab.replay.tally import At, Difference, Gap, Tally, Unjudged


class Answer(NamedTuple):
    """What became of a verdict. `gaps` are differences of scores by member; `beyond` is what differs more than it may, where
    there is a tolerance; one that is not `full` has neither margin nor categories."""

    after: Decided | Unjudged
    gaps: Mapping[str, Sequence[float]] = {}
    beyond: tuple[str, ...] | None = None
    full: bool = True


class Asker(Protocol):
    """Whoever gives answers."""

    concurrency: int

    async def due(self, at: At, record: VerdictRecord) -> None:
        """Waits until the record's turn has come."""

    async def ask(self, at: At, record: VerdictRecord) -> Answer:
        """The answer."""


def asked(jobs: Numbered, opening: AbstractAsyncContextManager[Asker], wanted: Wanted) -> Tallies:
    """Unit after unit, through one asker that is opened for all of them."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        asker = runner.run(stack.enter_async_context(opening))
        try:
            for number, job in jobs:
                yield number, runner.run(_asked_unit(job, asker, wanted))
        finally:
            runner.run(stack.aclose())


async def _asked_unit(job: Job, asker: Asker, wanted: Wanted) -> Tally:
    tally = Tally()
    under_way: deque[tuple[At, VerdictRecord, asyncio.Task[Answer]]] = deque()

    async def count_next() -> None:
        at, record, task = under_way.popleft()
        answer = await task
        tell(tally, at, record, answer.after, wanted, answer.full)
        for member, differences in answer.gaps.items():
            gap = tally.gaps.setdefault(member, Gap())
            for difference in differences:
                gap.add(difference)
        tally.checked += answer.beyond is not None
        if answer.beyond:
            tally.irreproducible.add(at, Difference(record.verdict_id, answer.beyond))

    async with asyncio.TaskGroup() as tasks:
        for at, record in verdicts(entries(job.unit), job.log, wanted, tally):
            await asker.due(at, record)
            under_way.append((at, record, tasks.create_task(asker.ask(at, record))))
            if len(under_way) >= asker.concurrency:
                await count_next()
        while under_way:
            await count_next()
    return tally
