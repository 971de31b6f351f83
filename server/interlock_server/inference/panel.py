"""The panel: asks every member at once under one deadline and returns what there is by then. It never raises, never decides."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.breaker import Breaker
from interlock_server.inference.cost import CostModel
from interlock_server.inference.lanes import JobQueue, Lanes
from interlock_server.inference.scoring import Job, Member, MemberReport, absent
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.text.exchange import Exchange

_TICK_S = 0.05
REQUIRED_PRIORITY, SHADOW_PRIORITY = 0, 1


class Panel:
    """The members, their breakers, and the engine that runs them. Belongs to the event loop that started it."""

    def __init__(
        self, members: Sequence[Member], shadow: Sequence[str], settings: InferenceSettings, metrics: Metrics
    ) -> None:
        self.members = tuple(members)
        self._shadow = frozenset(shadow)
        self._settings = settings
        self._metrics = metrics
        self._queue = JobQueue(settings.queue_size_max)
        self._lanes = Lanes(settings.lanes, self._queue, settings.hang_grace_ms / 1000, self._lanes_lost)
        breaker = Breaker(settings.breaker_failures, settings.breaker_open_ms / 1000)
        self._breakers = dict.fromkeys((member.name for member in members), breaker)
        self._costs = {member.name: CostModel() for member in members}
        # Looked up once: label look-ups on the hot path cost more than the observation.
        timer = metrics.member_seconds.labels
        self._timers = {m.name: [timer(m.name, phase) for phase in ("queue", "tokenize", "infer")] for m in members}
        for member in members:
            metrics.breaker_state.labels(member.name).set(breaker.state(time.monotonic()))
        self._outstanding_s = 0.0
        self._outstanding_jobs = 0
        self.cannot_heal = asyncio.Event()
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to watch the lanes; call once, on the event loop."""
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Ends the lanes and frees the models."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await asyncio.to_thread(self._lanes.close, 1.0)
        for member in self.members:
            member.backend.close()

    async def ask(self, exchange: Exchange, deadline_s: float) -> list[MemberReport]:
        """A report from every member, complete or not, at `deadline_s` (monotonic clock) at the latest."""
        overloaded = self._predicted_s(exchange) > self._settings.admission_share * (deadline_s - time.monotonic())
        if overloaded:
            self._metrics.admission_refused.labels("predicted_wait").inc()
        questions = [self._question(member, exchange, deadline_s, overloaded) for member in self.members]
        required = [question.answer for question in questions if question.required]
        try:
            await asyncio.wait(required, timeout=max(deadline_s - time.monotonic(), 0))
        finally:  # also when the caller has gone
            for question in questions:
                if question.required:
                    question.withdraw()
        return [question.report() for question in questions]

    def learn(self, member: str, size_bytes: int, took_s: float) -> None:
        """Tells the admission what a run took, such as one before the first request."""
        self._costs[member].learn(size_bytes, took_s)

    def _predicted_s(self, exchange: Exchange) -> float:
        """When the last job would end if the exchange were admitted now.

        An idle panel always admits: after one slow run a prediction may be far too high, and only the next run mends it.
        """
        if not self._outstanding_jobs:
            return 0.0
        own_s = sum(self._costs[member.name].predict_s(exchange.completion_bytes) for member in self.members)
        return (self._outstanding_s + own_s) / self._settings.lanes

    def _question(self, member: Member, exchange: Exchange, deadline_s: float, overloaded: bool) -> "_Question":
        """Puts one member's job into the queue, or answers at once why not."""
        loop = asyncio.get_running_loop()
        question = _Question(member.name, member.name not in self._shadow, loop.create_future())
        if overloaded:
            question.refuse(MissingCause.OVERLOADED)
            return question
        self._breakers[member.name], allowed = self._breakers[member.name].ask(time.monotonic())
        if not allowed:
            question.refuse(MissingCause.BREAKER_OPEN)
            return question
        job = question.job = Job(
            member,
            exchange,
            deadline_s,
            REQUIRED_PRIORITY if question.required else SHADOW_PRIORITY,
            done=lambda report: _call_soon(loop, partial(self._finished, question, report)),
            cost_s=self._costs[member.name].predict_s(exchange.completion_bytes),
        )
        self._outstanding_s += job.cost_s
        self._outstanding_jobs += 1
        if not self._queue.put(job):
            self._metrics.admission_refused.labels("queue_full").inc()
            self._finished(question, absent(member.name, MissingCause.OVERLOADED))
        return question

    def _finished(self, question: "_Question", report: MemberReport) -> None:
        """On the event loop, once per job, however late: lets breaker, cost model and metrics learn from it."""
        job, name = question.job, question.member
        assert job is not None
        self._outstanding_s = max(self._outstanding_s - job.cost_s, 0.0)
        self._outstanding_jobs -= 1
        breaker = self._breakers[name]
        if report.fault:
            self._breakers[name] = breaker.failed(time.monotonic())
        elif report.evidence.missing is None:
            self._breakers[name] = breaker.succeeded()
            self._costs[name].learn(job.exchange.completion_bytes, report.read_s + report.infer_s)
        else:
            self._breakers[name] = breaker.abandoned()
        if self._breakers[name] is not breaker:
            self._metrics.breaker_state.labels(name).set(self._breakers[name].state(time.monotonic()))
        for timer, seconds in zip(self._timers[name], (report.queue_s, report.read_s, report.infer_s), strict=True):
            timer.observe(seconds)
        if not question.answer.done():
            question.answer.set_result(report)

    async def _tick(self) -> None:
        while True:
            self._lanes.tick(time.monotonic())
            self._metrics.queue_depth.labels("cpu").set(len(self._queue))
            await asyncio.sleep(_TICK_S)

    def _lanes_lost(self, count: int) -> None:
        self._metrics.lanes_lost.set(count)
        if count > self._settings.lanes_lost_max:
            self.cannot_heal.set()


@dataclass(eq=False)
class _Question:
    """What one member was asked, and its answer to come."""

    member: str
    required: bool
    answer: asyncio.Future[MemberReport]
    job: Job | None = None

    def refuse(self, cause: MissingCause) -> None:
        self.answer.set_result(absent(self.member, cause))

    def withdraw(self) -> None:
        if self.job is not None and not self.answer.done():
            self.job.withdrawn = True
            self.job.run.stop()

    def report(self) -> MemberReport:
        return self.answer.result() if self.answer.done() else absent(self.member, MissingCause.TIMED_OUT)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From a lane to the event loop; when that has ended, nobody waits any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
