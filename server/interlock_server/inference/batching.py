"""What waits, and which of it is next. No thread, no clock: whoever shares an agenda between threads holds a lock.

An inquiry asks some members about one exchange. It waits unread; once read, its works wait, one for each member, until all
their windows have been taken. Taken is always what is most urgent: by priority, then by deadline, but whoever has waited
for the age limit goes before all who came later. Batches never exceed the member's rule, hold nothing that nobody waits
for, mix no priorities, and take the windows of a work in their order.
"""

import itertools
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from interlock_server.backends.backend import BatchRule, Run, Window
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.inference.admission import may_go_on
from interlock_server.inference.scoring import KnownRows, Member, MemberReport, Outcome, Work
from interlock_server.text.exchange import Exchange
from interlock_server.trace_context import TraceContext

INTERACTIVE, BULK, SHADOW = 0, 1, 2
Key = tuple[int, float, int, int]

_LOOKAHEAD = 8  # a batch is sought among so many times the works that it could hold


def _nothing() -> None:
    """Nobody wants to know."""


class Inquiry:
    """Members that are asked about one exchange until a deadline. `on_settled` is called once, when all have said all."""

    _numbers = itertools.count()

    def __init__(
        self,
        opening: Callable[[], Exchange | Reason],
        members: Sequence[Member],
        *,
        deadline_s: float,
        submitted_s: float,
        age_max_s: float = float("inf"),
        priority: int = INTERACTIVE,
        cost_s: float = 0.0,
        on_settled: Callable[[], None] = _nothing,
        known: KnownRows | None = None,
        trace: TraceContext | None = None,
    ) -> None:
        self.opening = opening
        self.deadline_s = deadline_s
        self.submitted_s = submitted_s
        self.cost_s = cost_s
        self.on_settled = on_settled
        self.trace = trace
        urgency_s = min(deadline_s, submitted_s + age_max_s)
        self.key: Key = (priority, urgency_s, next(self._numbers), 0)
        self.works = tuple(Work(m, known.setdefault(m.name, {}) if known is not None else None) for m in members)
        self.items = [WorkItem(self, work, (*self.key[:3], place)) for place, work in enumerate(self.works, 1)]
        self.batches: set[Batch] = set()
        """Those under way."""
        self.exchange: Exchange | None = None
        self.refused: Reason | None = None
        self.error: BaseException | None = None
        self.reading: Work | None = None
        self.closed = False
        self._settled = False

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        unread = self.refused is not None or self.error is not None
        return self.closed or unread or all(work.over for work in self.works)

    def settles(self) -> bool:
        """Whether nothing more will come, once: whoever is told so calls `on_settled`, without a lock."""
        if self._settled or not self.over:
            return False
        self._settled = True
        return True

    def dead(self, now_s: float) -> bool:
        """Nobody waits for it any more."""
        return self.closed or now_s >= self.deadline_s

    def read(self) -> None:
        """Opens the exchange and has every member cut it; never raises. Takes a while, and so is called without a lock."""
        try:
            opened = self.opening()
        except BaseException as error:  # kept for whoever asked, who will say that something is wrong with us
            self.error = error
            return
        if isinstance(opened, Reason):
            self.refused = opened
            return
        self.exchange = opened
        for work in self.works:
            self.reading = work
            work.read(opened)
        self.reading = None

    def give_up(self, cause: MissingCause, fault_of: Work | None = None) -> None:
        """Nothing more is scored, because of `cause`, which is the fault of one member, or of none."""
        for work in self.works:
            work.give_up(cause, fault=work is fault_of)

    def close(self) -> None:
        """Nobody waits any more: what has come by now is all, and runs that serve nobody else are stopped."""
        self.closed = True
        self.give_up(MissingCause.TIMED_OUT)
        for batch in self.batches:
            if all(item.inquiry.closed for item, _ in batch.pieces):
                batch.handle.stop()

    def reports(self) -> list[MemberReport]:
        """What every member has said by now."""
        return [work.report(self.exchange, self.submitted_s) for work in self.works]


@dataclass(eq=False)
class WorkItem:
    """A work and its place in the agenda."""

    inquiry: Inquiry
    work: Work
    key: Key

    @property
    def cost_s(self) -> float:
        """Predicted seconds for the windows that nobody has taken yet."""
        return self.work.window_s * len(self.work.pending)

    def dead(self, now_s: float) -> bool:
        """Nothing of it is to be done any more."""
        return not self.work.pending or self.inquiry.dead(now_s)


@dataclass(eq=False)
class Batch:
    """Windows that one call of one member scores."""

    member: Member
    pieces: list[tuple[WorkItem, Window]]
    cost_s: float
    handle: Run = field(default_factory=Run)
    begun_s: float = 0.0

    @property
    def windows(self) -> list[Window]:
        """What the model is shown."""
        return [window for _, window in self.pieces]

    @property
    def deadline_s(self) -> float:
        """When the last of those who wait for it stops waiting."""
        return max(item.inquiry.deadline_s for item, _ in self.pieces)

    @property
    def trace(self) -> TraceContext | None:
        """What the call belongs to: it has room for one trace, which is one that is kept, if there is any."""
        traces = [item.inquiry.trace for item, _ in self.pieces]
        return next((trace for trace in traces if trace is not None and trace.sampled), traces[0])

    @property
    def tokens(self) -> int:
        """What the model computes, padding included."""
        return len(self.pieces) * max(len(window.ids) for _, window in self.pieces)

    def begin(self, now_s: float) -> None:
        """Notes that the works are being scored."""
        self.begun_s = now_s
        for item, _ in self.pieces:
            item.inquiry.batches.add(self)
            item.work.begun_s = item.work.begun_s or now_s

    def finish(self, outcome: Outcome, took_s: float) -> list[WorkItem]:
        """Hands the rows out. When a batch of several works failed, returns them: each is to be tried again alone."""
        shared = len({id(item) for item, _ in self.pieces}) > 1
        again = shared and outcome.fault and not outcome.rows
        for item, _ in self.pieces:
            item.inquiry.batches.discard(self)
        if again:
            return self._put_back()
        rows = outcome.rows or [None] * len(self.pieces)
        for (item, window), row in zip(self.pieces, rows, strict=True):
            if item.inquiry.closed:
                continue
            item.work.infer_s += took_s / len(self.pieces)
            item.work.ended_s = self.begun_s + took_s
            if outcome.cause is not None:
                item.work.give_up(outcome.cause, outcome.fault)
            else:
                item.work.record(window, row)
        return []

    def _put_back(self) -> list[WorkItem]:
        for item, window in reversed(self.pieces):
            item.work.alone = True
            if not item.inquiry.closed:
                item.work.pending.appendleft(window)
        return list({id(item): item for item, _ in self.pieces if item.work.pending}.values())


Item = Inquiry | WorkItem
Step = Inquiry | Batch


class Agenda:
    """What waits for the lanes of one sort, most urgent first."""

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item) -> None:
        """Puts it in its place."""
        insort(self._items, item, key=_key)

    def purge(self, now_s: float) -> None:
        """Forgets what nobody waits for."""
        self._items = [item for item in self._items if not item.dead(now_s)]

    def ahead_s(self, key: Key) -> float:
        """Predicted seconds of what is more urgent than that."""
        return sum(item.cost_s for item in self._items[: bisect_left(self._items, key, key=_key)])

    def take(self, now_s: float) -> tuple[Step | None, list[Inquiry]]:
        """The next step, and the inquiries that were given up, because their next step could not end in time."""
        given_up: list[Inquiry] = []
        while self._items:
            first = self._items[0]
            if first.dead(now_s):
                self._items.pop(0)
            elif not self._may_go_on(first, now_s):
                inquiry = first if isinstance(first, Inquiry) else first.inquiry
                inquiry.give_up(MissingCause.OVERLOADED)
                given_up.append(inquiry)
                self._items.pop(0)
            elif isinstance(first, Inquiry):
                return self._items.pop(0), given_up  # type: ignore[return-value]
            else:
                return self._batch(first, now_s), given_up
        return None, given_up

    def _may_go_on(self, item: Item, now_s: float) -> bool:
        """Of an inquiry all is still to be done, by every lane at best; of a work, its next window."""
        inquiry = item if isinstance(item, Inquiry) else item.inquiry
        next_s = item.cost_s / self._lanes if isinstance(item, Inquiry) else item.work.window_s
        others_wait = self._items[-1].key[:3] != inquiry.key[:3]
        return may_go_on(next_s=next_s, left_s=inquiry.deadline_s - now_s, others_wait=others_wait)

    def _batch(self, first: WorkItem, now_s: float) -> Batch:
        """The first window, and others of the same member that may share its batch."""
        member, rule = first.work.member, first.work.member.backend.batching
        chosen = _Chosen(rule)
        chosen.fill(first)
        if rule.size_max > 1 and not first.work.alone:
            for item in self._items[1 : 1 + _LOOKAHEAD * rule.size_max]:
                if isinstance(item, WorkItem) and _may_share(item, first, now_s):
                    chosen.fill(item)
                if chosen.full:
                    break
        if not first.work.pending:
            self._items.pop(0)  # others that were emptied are dropped as dead, when their turn comes
        return Batch(member, chosen.pieces, sum(item.work.window_s for item, _ in chosen.pieces))


def _key(item: Item) -> Key:
    return item.key


def _may_share(item: WorkItem, first: WorkItem, now_s: float) -> bool:
    same = item.work.member is first.work.member and item.key[0] == first.key[0]
    return same and not item.work.alone and not item.dead(now_s)


class _Chosen:
    """Windows that were taken for a batch, and whether the rule allows one more."""

    def __init__(self, rule: BatchRule) -> None:
        self._rule = rule
        self._shortest, self._longest = float("inf"), 0
        self.pieces: list[tuple[WorkItem, Window]] = []
        self.full = False

    def fill(self, item: WorkItem) -> None:
        """Takes windows from the front of a work, as long as they fit; the first one always does."""
        while item.work.pending and not self.full and self._fits(item.work.pending[0]):
            window = item.work.pending.popleft()
            self._shortest = min(self._shortest, len(window.ids))
            self._longest = max(self._longest, len(window.ids))
            self.pieces.append((item, window))
            self.full = len(self.pieces) >= self._rule.size_max

    def _fits(self, window: Window) -> bool:
        if not self.pieces:
            return True
        size = len(window.ids)
        shortest, longest = min(self._shortest, size), max(self._longest, size)
        tokens = (len(self.pieces) + 1) * longest
        return tokens <= self._rule.tokens_max and longest <= self._rule.spread_max * shortest
