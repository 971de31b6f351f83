"""Lanes: threads that run models, on the CPU or beside a GPU, all taking from one agenda. One that hangs is replaced.

A lane that takes an inquiry reads it, which leaves its works to all lanes: so idle lanes share one request at low load, and
at high load each works through what is most urgent. Everything here is guarded by one lock, held for microseconds.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.batching import Agenda, Batch, Inquiry, Key, Step, WorkItem
from interlock_server.inference.scoring import Outcome, run


@dataclass(frozen=True)
class RunRecord:
    """What one call of a model was like, for breakers, cost models and metrics. `good` is None when it was stopped."""

    member: str
    windows: int
    tokens: int
    took_s: float
    good: bool | None


@dataclass(frozen=True)
class Surroundings:
    """What lanes are given: the lock, where read works go, and who wants to know of runs. All of it may be called from
    any thread; `place` with the lock held.
    """

    lock: threading.Lock
    place: Callable[[Sequence[WorkItem]], None]
    on_read: Callable[[Inquiry], None]
    on_run: Callable[[RunRecord], None]

    def conclude(self, batch: Batch, outcome: Outcome, took_s: float) -> list[Inquiry]:
        """Hands out what a run gave, with the lock held; returns the inquiries that it settled."""
        again = batch.finish(outcome, took_s)
        good = None if outcome.cause is MissingCause.TIMED_OUT and not outcome.fault else _good(outcome)
        self.on_run(RunRecord(batch.member.name, len(batch.pieces), batch.tokens, took_s, good))
        if again:
            self.place(again)
        return [inquiry for inquiry in {item.inquiry for item, _ in batch.pieces} if inquiry.settles()]


def _good(outcome: Outcome) -> bool:
    return outcome.cause is None and all(row is not None for row in outcome.rows)


class Lane:
    """A daemon thread, since a hung model must not keep the process from exiting."""

    def __init__(self, lanes: "Lanes", name: str) -> None:
        self.step: Step | None = None
        self.begun_s = 0.0
        self.lost = False
        self._thread = threading.Thread(target=lanes.work, args=(self,), name=name, daemon=True)
        self._thread.start()

    def stuck(self, now_s: float, grace_s: float) -> bool:
        """Its step should have ended long ago, or its thread has died."""
        hung = self.step is not None and now_s > self.step.deadline_s + grace_s
        return hung or not self.alive()

    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread to end."""
        self._thread.join(timeout_s)


class Lanes:
    """A fixed number of working lanes of one sort. `tick` must be called regularly: it replaces lanes that hang."""

    def __init__(self, name: str, count: int, size_max: int, niceness: int, around: Surroundings) -> None:
        self.name = name
        self.count = count
        self._size_max = size_max
        self._niceness = niceness
        self._around = around
        self._agenda = Agenda(count)
        self._ready = threading.Condition(around.lock)
        self._closed = False
        self._numbers = itertools.count()
        self._lost: list[Lane] = []
        self._working: list[Lane] = []
        for _ in range(count):
            self._start()

    def __len__(self) -> int:
        return len(self._agenda)

    def submit(self, inquiry: Inquiry) -> bool:
        """Queues an inquiry, or returns False when the queue is closed or full of what somebody waits for; with the lock
        held.
        """
        if len(self._agenda) >= self._size_max:
            self._agenda.purge(time.monotonic())
        if self._closed or len(self._agenda) >= self._size_max:
            return False
        self._agenda.add(inquiry)
        self._ready.notify()
        return True

    def add(self, items: Sequence[WorkItem]) -> None:
        """Queues works that were read, and wakes idle lanes for them; with the lock held."""
        for item in items:
            self._agenda.add(item)
        self._ready.notify(len(items))

    def ahead_s(self, key: Key) -> float | None:
        """Predicted seconds of the work that is under way or more urgent than that; None when there is none at all. With
        the lock held.
        """
        steps = [lane.step for lane in self._working if lane.step is not None]
        if not steps and not len(self._agenda):
            return None
        return self._agenda.ahead_s(key) + sum(step.cost_s for step in steps)

    def tick(self, now_s: float, grace_s: float) -> int:
        """Replaces every hung or dead lane; returns how many lost ones still hold a thread."""
        settled: list[Inquiry] = []
        with self._ready:
            self._agenda.purge(now_s)
            for lane in [lane for lane in self._working if lane.stuck(now_s, grace_s)]:
                self._working.remove(lane)
                settled += self._lose(lane, now_s)
                self._start()
        tell(settled)
        self._lost = [lane for lane in self._lost if lane.alive()]
        return len(self._lost)

    def close(self, timeout_s: float) -> None:
        """Ends the lanes; waits for steps under way, but not for lost lanes."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for lane in list(self._working):
            lane.join(timeout_s)

    def work(self, lane: Lane) -> None:
        """What a lane does all its life. Between two steps it takes the lock once, since others wait for it."""
        _be_nice(self._niceness)
        outcome: Outcome | None = None
        while True:
            with self._ready:
                settled = self._conclude(lane, outcome)
                step = self._next(lane, settled)
            tell(settled)
            if step is None and (lane.lost or self._closed):
                return
            outcome = self._perform(step) if step is not None else None

    def _start(self) -> None:
        self._working.append(Lane(self, f"{self.name}-{next(self._numbers)}"))

    def _conclude(self, lane: Lane, outcome: Outcome | None) -> list[Inquiry]:
        """Hands out what the last step gave; returns the inquiries that it settled."""
        step, lane.step = lane.step, None
        if step is None or lane.lost:  # a lost lane has been answered for
            return []
        if isinstance(step, Batch):
            assert outcome is not None
            return self._around.conclude(step, outcome, time.monotonic() - lane.begun_s)
        self._around.on_read(step)
        if step.exchange is not None and not step.closed:
            self._around.place([item for item in step.items if item.work.pending])
        return [step] if step.settles() else []

    def _next(self, lane: Lane, settled: list[Inquiry]) -> Step | None:
        """The next step; waits for one only when nobody is to be told of anything."""
        while not lane.lost:
            now_s = time.monotonic()
            step, given_up = self._agenda.take(now_s)
            settled += [inquiry for inquiry in given_up if inquiry.settles()]
            if step is not None:
                lane.step, lane.begun_s = step, now_s
                if isinstance(step, Batch):
                    step.begin(now_s)
                return step
            if self._closed or settled:
                return None
            self._ready.wait()
        return None

    def _perform(self, step: Step) -> Outcome | None:
        if isinstance(step, Batch):
            return run(step.member, step.windows, step.handle)
        step.read()
        return None

    def _lose(self, lane: Lane, now_s: float) -> list[Inquiry]:
        """Answers for what the lane was at, and lets its thread end whenever the model lets go of it."""
        step, lane.step, lane.lost = lane.step, None, True
        self._lost.append(lane)
        if isinstance(step, Batch):
            step.handle.stop()
            outcome = Outcome(cause=MissingCause.TIMED_OUT, fault=True)
            return self._around.conclude(step, outcome, now_s - lane.begun_s)
        if step is not None:
            step.give_up(MissingCause.TIMED_OUT, fault_of=step.reading)
            self._around.on_read(step)
        return [step] if step is not None and step.settles() else []


def tell(settled: Sequence[Inquiry]) -> None:
    """Those who wait; without the lock, which they may want."""
    for inquiry in settled:
        inquiry.on_settled()


def _be_nice(niceness: int) -> None:
    """Lets the thread that answers callers go first: a lane takes milliseconds, an answer microseconds."""
    if sys.platform == "linux" and niceness:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
