"""The panel: asks every member at once under one deadline and returns what there is by then. It never decides."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.inference.admission import may_begin
from interlock_server.inference.batching import BULK, INTERACTIVE, SHADOW, Inquiry, WorkItem
from interlock_server.inference.breaker import Breaker
from interlock_server.inference.cost import CostModel
from interlock_server.inference.lanes import Lanes, RunRecord, Surroundings
from interlock_server.inference.remote import RemoteLanes
from interlock_server.inference.scoring import KnownRows, Member, MemberReport, absent
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.text.exchange import Exchange
from interlock_server.trace_context import TraceContext

_TICK_S = 0.05
CPU, REMOTE = "cpu", "remote"


@dataclass(frozen=True)
class Roles:
    """Whose evidence decides, and whose is only recorded. Members that are neither are not asked."""

    required: frozenset[str]
    shadow: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Question:
    """What the panel is asked. `opening` makes the exchange, in a lane, or says why it cannot be judged."""

    opening: Callable[[], Exchange | Reason]
    size_bytes: int
    """Of the completion."""
    deadline_s: float
    """On the monotonic clock."""
    bulk: bool = False
    known: KnownRows | None = None
    """Scores of windows of the same text when it was shorter, to which those of this one are added."""
    roles: Roles | None = None
    """Those of another policy than the one that the panel was made for."""
    trace: TraceContext | None = None
    """What the members' work belongs to."""


@dataclass(frozen=True)
class Answer:
    """A report from every member, complete or not; or why none was asked."""

    reports: tuple[MemberReport, ...] = ()
    exchange: Exchange | None = None
    refused: Reason | None = None
    ood_pvalue: float | None = None
    """What the gate makes of it; the panel leaves that to others."""


class Panel:
    """The members, their breakers, and the engine that runs them. Belongs to the event loop on which it is made."""

    def __init__(
        self,
        members: Sequence[Member],
        shadow: Sequence[str],
        settings: InferenceSettings,
        metrics: Metrics,
        cannot_heal: asyncio.Event | None = None,
    ) -> None:
        self.members = tuple(members)
        self._roles = Roles(frozenset(member.name for member in members) - {*shadow}, frozenset(shadow))
        self._settings = settings
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        breaker = Breaker(settings.breaker_failures, settings.breaker_open_ms / 1000)
        self._breakers = {member.name: breaker for member in members}
        self._run_costs = {member.name: CostModel() for member in members}  # tokens of a run -> seconds
        self._text_costs = {member.name: CostModel() for member in members}  # bytes of a completion -> seconds
        self._instruments = {member.name: metrics.of_member(member.name) for member in members}
        self._runs: deque[RunRecord] = deque()
        self._lock = threading.Lock()
        self._lanes = self._make_lanes()
        self.cannot_heal = cannot_heal or asyncio.Event()
        self._retired = False
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to watch the lanes; call once."""
        self._ticking = asyncio.create_task(self._tick())

    def retire(self) -> None:
        """Another panel takes new questions from now on, and its queues and breakers are those to be shown."""
        self._retired = True

    async def close(self) -> None:
        """Ends the lanes and frees the models."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        for lanes in self._lanes.values():
            if isinstance(lanes, RemoteLanes):
                await lanes.close()
            else:
                await asyncio.to_thread(lanes.close, 1.0)
        for member in self.members:
            if member.lane != REMOTE:
                member.backend.close()

    async def ask(self, question: Question) -> Answer:
        """The answer, at the question's deadline at the latest. Raises what `opening` raises."""
        now_s = time.monotonic()
        roles = question.roles or self._roles
        if roles.shadow:
            question = replace(question, opening=_once(question.opening))
        settled: asyncio.Future[None] = self._loop.create_future()
        required = self._inquiry(question, now_s, BULK if question.bulk else INTERACTIVE, self._allowed(roles.required))
        required.on_settled = partial(_call_soon, self._loop, partial(_set, settled))
        if not required.works:
            return self._answer([required], roles)
        refusal = self._refusal(required, question, now_s)
        if refusal is not None:
            self._abandon(required)
            self._metrics.admission_refused.labels(refusal).inc()
            return Answer(refused=Reason.OVERLOADED)
        asked = [required, *self._ask_shadows(question, roles.shadow, now_s)]
        timer = self._loop.call_later(max(question.deadline_s - now_s, 0.0), _set, settled)
        try:
            await settled
        finally:  # also when the caller has gone
            timer.cancel()
            with self._lock:
                required.close()
            self._take_note()
            self._observe(required, question)
        return self._answer(asked, roles)

    def learn(self, member: str, size_bytes: int, took_s: float) -> None:
        """Tells the admission what a text took, such as one before the first request."""
        self._text_costs[member].learn(size_bytes, took_s)

    def _make_lanes(self) -> dict[str, Lanes | RemoteLanes]:
        """One set of lanes for the CPU, where everything is read, one for each device, one for each remote member."""
        around = Surroundings(self._lock, self._place, self._estimate, self._runs.append)
        settings = self._settings

        def local(name: str, count: int) -> Lanes:
            return Lanes(name, count, settings.queue_size_max, settings.lane_niceness, around)

        devices = sorted({member.lane for member in self.members} - {CPU, REMOTE})
        self._cpu = local(CPU, settings.lanes)  # where everything begins, because it is read there
        lanes: dict[str, Lanes | RemoteLanes] = {CPU: self._cpu}
        lanes |= {device: local(device, settings.device_lanes) for device in devices}
        return lanes | {m.name: RemoteLanes(m, around) for m in self.members if m.lane == REMOTE}

    def _lanes_of(self, member: Member) -> Lanes | RemoteLanes:
        return self._lanes[member.name if member.lane == REMOTE else member.lane]

    def _place(self, items: Sequence[WorkItem]) -> None:
        """Queues works with the lanes of their members; in any thread, with the lock held."""
        by_lanes: dict[str, list[WorkItem]] = defaultdict(list)
        for item in items:
            by_lanes[self._lanes_of(item.work.member).name].append(item)
        for name, placed in by_lanes.items():
            self._lanes[name].add(placed)

    def _estimate(self, inquiry: Inquiry) -> None:
        """Now that the windows are known, what they will take; a reader that failed is the member's fault."""
        for work in inquiry.works:
            if work.pending:
                tokens = sum(len(window.ids) for window in work.pending) / len(work.pending)
                work.window_s = self._run_costs[work.member.name].predict_s(tokens)
            elif work.fault:
                self._runs.append(RunRecord(work.member.name, 0, 0, 0.0, good=False))

    def _allowed(self, names: frozenset[str]) -> list[Member]:
        """Those members, less the ones that are not asked because they keep failing."""
        self._take_note()
        return [member for member in self.members if member.name in names and self._admits(member.name)]

    def _admits(self, name: str) -> bool:
        self._breakers[name], allowed = self._breakers[name].ask(time.monotonic())
        return allowed

    def _inquiry(self, question: Question, now_s: float, priority: int, members: Sequence[Member]) -> Inquiry:
        costs = (self._text_costs[member.name].predict_s(question.size_bytes) for member in members)
        return Inquiry(
            question.opening,
            members,
            deadline_s=question.deadline_s,
            submitted_s=now_s,
            age_max_s=self._settings.age_max_ms / 1000,
            priority=priority,
            cost_s=sum(costs),
            known=question.known,
            trace=question.trace,
        )

    def _refusal(self, inquiry: Inquiry, question: Question, now_s: float) -> str | None:
        """Why the inquiry is not begun, or None: it waits for a lane now."""
        own_s: dict[str, float] = defaultdict(float)
        for work in inquiry.works:
            lanes = self._lanes_of(work.member)
            own_s[lanes.name] += self._text_costs[work.member.name].predict_s(question.size_bytes)
        with self._lock:
            for name, seconds in own_s.items():
                ahead_s = self._lanes[name].ahead_s(inquiry.key)
                if ahead_s is not None and not may_begin(
                    ahead_s=ahead_s,
                    own_s=seconds,
                    size_bytes=question.size_bytes,
                    lanes=self._lanes[name].count,
                    left_s=question.deadline_s - now_s,
                    share=self._settings.admission_share,
                ):
                    return "predicted_wait"
            return None if self._cpu.submit(inquiry) else "queue_full"

    def _ask_shadows(self, question: Question, names: frozenset[str], now_s: float) -> list[Inquiry]:
        """Shadows read the same exchange when nothing else is to do, and go on when the answer has been sent."""
        members = self._allowed(names) if names else []
        if not members:
            return []
        shadows = self._inquiry(question, now_s, SHADOW, members)
        shadows.on_settled = partial(_call_soon, self._loop, partial(self._observe, shadows, question))
        with self._lock:
            accepted = self._cpu.submit(shadows)
        if not accepted:
            self._abandon(shadows)
        return [shadows] if accepted else []

    def _answer(self, asked: Sequence[Inquiry], roles: Roles) -> Answer:
        """What has been said by now; raises what went wrong before any member was asked."""
        required = asked[0]
        if isinstance(required.error, Exception):
            raise required.error
        if required.error is not None:  # a panic, or what would end the process
            raise RuntimeError(type(required.error).__name__)
        said = {report.evidence.member: report for report in required.reports()}  # closed: nobody changes it any more
        for shadows in asked[1:]:
            with self._lock:
                said |= {report.evidence.member: report for report in shadows.reports()}
        names = [member.name for member in self.members if member.name in roles.required | roles.shadow]
        reports = (said.get(name) or absent(name, MissingCause.BREAKER_OPEN) for name in names)
        return Answer(tuple(reports), required.exchange, required.refused)

    def _observe(self, inquiry: Inquiry, question: Question) -> None:
        """Once per inquiry: lets breakers, cost models and metrics learn from it."""
        self._abandon(inquiry)
        for work in inquiry.works:
            name = work.member.name
            if work.begun_s is not None and work.over and work.cause is None:
                self._text_costs[name].learn(question.size_bytes, work.read_s + work.infer_s)
            queue_s = (work.begun_s or time.monotonic()) - inquiry.submitted_s
            self._instruments[name].timed(queue_s, work.read_s, work.infer_s)

    def _abandon(self, inquiry: Inquiry) -> None:
        """Members that were not asked after all: if one was to be a probe, the next one may be."""
        for work in inquiry.works:
            if work.begun_s is None and not work.fault:
                self._breakers[work.member.name] = self._breakers[work.member.name].abandoned()

    def _take_note(self) -> None:
        """Of the runs since the last time."""
        now_s = time.monotonic()
        while self._runs:
            run = self._runs.popleft()
            before = self._breakers[run.member]
            if run.good is None:
                after = before.abandoned()
            elif run.good:
                after = before.succeeded()
                self._run_costs[run.member].learn(run.tokens, run.took_s)
            else:
                after = before.failed(now_s)
            if after is not before:
                self._breakers[run.member] = after
                self._instruments[run.member].breaker.set(after.state(now_s))
            self._instruments[run.member].ran(run.windows, run.tokens)

    async def _tick(self) -> None:
        while True:
            now_s, grace_s = time.monotonic(), self._settings.hang_grace_ms / 1000
            lost = sum(lanes.tick(now_s, grace_s) for lanes in self._lanes.values())
            self._take_note()
            if lost > self._settings.lanes_lost_max:
                self.cannot_heal.set()
            if not self._retired:
                self._show(now_s, lost)
            await asyncio.sleep(_TICK_S)

    def _show(self, now_s: float, lost: int) -> None:
        self._metrics.lanes_lost.set(lost)
        for name, lanes in self._lanes.items():
            self._metrics.queue_depth.labels(name).set(len(lanes))
        for name, costs in self._run_costs.items():
            self._instruments[name].costs(costs.base_s, costs.slope_s)
            self._instruments[name].breaker.set(self._breakers[name].state(now_s))


def _once(opening: Callable[[], Exchange | Reason]) -> Callable[[], Exchange | Reason]:
    """The same exchange for all who read it."""
    made: list[Exchange | Reason] = []
    lock = threading.Lock()

    def opened() -> Exchange | Reason:
        with lock:
            if not made:
                made.append(opening())
        return made[0]

    return opened


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From a lane to the event loop; when that has ended, nobody waits any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
