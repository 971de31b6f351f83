"""Remote lanes: slots of calls to a model on another machine, under way on the event loop. The agenda is as for threads."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

from interlock_server.backends.backend import RemoteBackend, ScoreError
from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.batching import Agenda, Batch, Inquiry, Key, WorkItem
from interlock_server.inference.lanes import Surroundings, tell
from interlock_server.inference.scoring import Member, Outcome, checked, failed
from interlock_server.trace_context import CURRENT

_HUNG_FACTOR, _HUNG_S = 4.0, 0.05  # a call that is late after so long is the server's fault, not the caller's hurry


class RemoteLanes:
    """The calls to one member. Belongs to the event loop on which it is made, but works may come from any thread."""

    def __init__(self, member: Member, around: Surroundings) -> None:
        self.name = member.name
        self._member = member
        self._backend = cast(RemoteBackend, member.backend)
        self.count = self._backend.slots
        self._around = around
        self._agenda = Agenda(self.count)
        self._loop = asyncio.get_running_loop()
        self._calls: dict[asyncio.Task[None], Batch] = {}

    def __len__(self) -> int:
        return len(self._agenda)

    def add(self, items: Sequence[WorkItem]) -> None:
        """Queues works that were read; with the lock held."""
        for item in items:
            self._agenda.add(item)
        self._loop.call_soon_threadsafe(self._pump)

    def ahead_s(self, key: Key) -> float | None:
        """As of Lanes."""
        if not self._calls and not len(self._agenda):
            return None
        return self._agenda.ahead_s(key) + sum(batch.cost_s for batch in self._calls.values())

    def tick(self, now_s: float, grace_s: float) -> int:
        """Forgets what nobody waits for. A call cannot hang for longer than its deadline."""
        with self._around.lock:
            self._agenda.purge(now_s)
        return 0

    async def close(self) -> None:
        """Ends the calls under way and hangs up."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._backend.close()

    def _pump(self) -> None:
        """Fills the free slots with what is most urgent."""
        settled: list[Inquiry] = []
        with self._around.lock:
            while len(self._calls) < self.count:
                step, given_up = self._agenda.take(time.monotonic())
                settled += [inquiry for inquiry in given_up if inquiry.settles()]
                if not isinstance(step, Batch):
                    break
                step.begin(time.monotonic())
                call = self._loop.create_task(self._score(step))
                step.handle.on_stop(partial(_cancel, call))
                self._calls[call] = step
                call.add_done_callback(self._ended)
        tell(settled)

    def _ended(self, call: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._pump()

    async def _score(self, batch: Batch) -> None:
        begun_s = time.monotonic()
        if batch.trace is not None:
            CURRENT.set(batch.trace.child(self.name))  # of this task only; its span is that of the member
        outcome = await self._call(batch, begun_s)
        with self._around.lock:
            settled = self._around.conclude(batch, outcome, time.monotonic() - begun_s)
        tell(settled)

    async def _call(self, batch: Batch, begun_s: float) -> Outcome:
        try:
            async with asyncio.timeout(batch.deadline_s - begun_s):
                rows = await self._backend.score(batch.windows, batch.deadline_s)
            return checked(rows, len(batch.pieces), len(self._member.categories), self._member.gated)
        except ScoreError as error:
            return self._late(batch, begun_s) if error.cause == MissingCause.TIMED_OUT else failed(error)
        except TimeoutError:
            return self._late(batch, begun_s)
        except asyncio.CancelledError:  # nobody waits any more
            return Outcome(cause=MissingCause.TIMED_OUT)
        except Exception:  # that it failed is all that is said: messages may quote text
            return Outcome(cause=MissingCause.FAILED, fault=True)

    def _late(self, batch: Batch, begun_s: float) -> Outcome:
        hung = time.monotonic() - begun_s > max(_HUNG_FACTOR * batch.cost_s, _HUNG_S)
        return Outcome(cause=MissingCause.TIMED_OUT, fault=hung)


def _cancel(call: asyncio.Task[None]) -> None:
    call.cancel()
