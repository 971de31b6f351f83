"""Lanes and the one queue before them. A lane is a thread that runs jobs; a lane that hangs is replaced, not waited for.

Earliest deadline first within a priority; the dead are answered, not run. Waits are bounded: a full queue refuses.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.scoring import Job, absent, perform

_Entry = tuple[int, float, int, Job]


class JobQueue:
    """A bounded queue for many threads."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._heap: list[_Entry] = []
        self._ready = threading.Condition()
        self._order = itertools.count()
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, job: Job) -> bool:
        """Queues the job, or returns False when the queue is closed or full of jobs that somebody waits for."""
        with self._ready:
            dead = self._evict_dead() if len(self._heap) >= self._size_max else []
            accepted = not self._closed and len(self._heap) < self._size_max
            if accepted:
                heapq.heappush(self._heap, (job.priority, job.deadline_s, next(self._order), job))
                self._ready.notify()
        for old in dead:
            old.done(perform(old))  # which does not run it
        return accepted

    def take(self) -> Job | None:
        """The next job, dead or alive; waits for one, and returns None once the queue is closed and empty."""
        with self._ready:
            while not self._heap and not self._closed:
                self._ready.wait()
            if not self._heap:
                return None
            return heapq.heappop(self._heap)[-1]

    def close(self) -> None:
        """Refuses new jobs; lanes finish those that wait, which at their deadlines are dead."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _evict_dead(self) -> list[Job]:
        now_s = time.monotonic()
        alive: list[_Entry] = []
        dead: list[_Entry] = []
        for entry in self._heap:
            (dead if entry[-1].dead(now_s) else alive).append(entry)
        heapq.heapify(alive)
        self._heap = alive
        return [entry[-1] for entry in dead]


class Lane:
    """A daemon thread, since a hung model must not keep the process from exiting."""

    def __init__(self, queue: JobQueue, number: int) -> None:
        self._queue = queue
        self._job: Job | None = None
        self._lock = threading.Lock()
        self.lost = False
        self._thread = threading.Thread(target=self._work, name=f"lane-{number}", daemon=True)
        self._thread.start()

    def give_up_if_stuck(self, now_s: float, grace_s: float) -> bool:
        """Whether its job should have ended long ago, or its thread has died. If so, answers for the job and lets the
        thread end whenever the model lets go of it.
        """
        with self._lock:
            job = self._job
            hung = job is not None and now_s > job.deadline_s + grace_s
            if not hung and self.alive():
                return False
            self._job, self.lost = None, True
        if job is not None:
            job.run.stop()
            job.done(absent(job.member.name, MissingCause.TIMED_OUT, time.monotonic() - job.submitted_s, fault=True))
        return True

    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread to end."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self.lost and (job := self._queue.take()) is not None:
            self._job = job
            report = perform(job)
            with self._lock:
                answered, self._job = self.lost, None
            if not answered:
                job.done(report)


class Lanes:
    """A fixed number of working lanes. `tick` must be called regularly: it replaces lanes that hang."""

    def __init__(self, count: int, queue: JobQueue, grace_s: float, on_lost: Callable[[int], None]) -> None:
        self._queue = queue
        self._grace_s = grace_s
        self._on_lost = on_lost
        self._numbers = itertools.count()
        self._lost: list[Lane] = []
        self._working = [Lane(queue, next(self._numbers)) for _ in range(count)]

    def tick(self, now_s: float) -> None:
        """Replaces every hung or dead lane, and reports how many lost ones still hold a thread."""
        for place, lane in enumerate(self._working):
            if lane.give_up_if_stuck(now_s, self._grace_s):
                self._lost.append(lane)
                self._working[place] = Lane(self._queue, next(self._numbers))
        self._lost = [lane for lane in self._lost if lane.alive()]
        self._on_lost(len(self._lost))

    def close(self, timeout_s: float) -> None:
        """Ends the lanes; waits for jobs under way, but not for lost ones."""
        self._queue.close()
        for lane in self._working:
            lane.join(timeout_s)
