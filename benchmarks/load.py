"""The load generator, a process of its own: a task as JSON on standard input, its result as JSON on standard output.

    echo '{"driver": "interlock", "address": "127.0.0.1:50051", "mode": "closed"}' | .venv/bin/python benchmarks/load.py

A latency counts from the time at which the request was due, not from when it was sent, so that a stalled server or
generator cannot hide what waited behind it. A request over the bound on requests in flight is an error, never left out.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from drivers import DRIVERS, Driver, Outcome
from figures import latencies, rounded
from ideal import poisson_arrivals
from machine import cpu_s
from texts import corpus


@dataclass(frozen=True)
class Task:
    """What to do to which server."""

    address: str
    driver: str = "interlock"
    mode: str = "closed"
    """`closed`: `callers` ask one after the other; `open`: Poisson arrivals at `rate_per_s`; `burst`: `count` at once."""
    texts: str = "mixed"
    text_count: int = 4000
    """Enough for a run, so that no text comes twice."""
    salt: str = ""
    seconds: float = 5.0
    warm_up_share: float = 0.15
    """Requests that were due in this first part of `seconds` are sent but not counted."""
    callers: int = 1
    rate_per_s: float = 1.0
    seed: int = 1
    deadline_s: float = 10.0
    in_flight_max: int = 2048
    count: int = 200
    cancel_after_s: float = 0.15
    """Long enough for all of a burst to reach the server, too short for most of it to be answered."""
    bucket_s: float = 0.0
    """Over 0, latencies are also given for each such span of time."""
    server_pids: list[int] = field(default_factory=list)

    @property
    def warm_up_s(self) -> float:
        """When counting begins."""
        return self.warm_up_share * self.seconds


@dataclass
class Sent:
    """A request: when it was due, when its answer was there, and what it was; `answer` None means that its caller left."""

    due_s: float
    ended_s: float = 0.0
    answer: bytes | Outcome | None = None
    outcome: Outcome | None = None


class Run:
    """Sends what the task says, and remembers everything."""

    def __init__(self, task: Task, driver: Driver) -> None:
        self._task = task
        self._driver = driver
        self._in_flight = 0
        self.sent: list[Sent] = []
        self.begun_s = time.perf_counter()
        self.server_cpu_s_at_cancel = 0.0

    async def ask(self, place: int, due_s: float) -> None:
        """One request, with what is left of its time."""
        sent = Sent(due_s)
        self.sent.append(sent)
        timeout_s = due_s + self._task.deadline_s - time.perf_counter()
        if self._in_flight >= self._task.in_flight_max:
            sent.answer = Outcome.ERROR
        elif timeout_s <= 0:
            sent.answer = Outcome.LATE  # the generator was behind; to the caller it is the same
        else:
            self._in_flight += 1
            try:
                sent.answer = await self._driver.send(place, timeout_s)
            finally:
                self._in_flight -= 1
        sent.ended_s = time.perf_counter()

    async def closed(self) -> None:
        """Callers that each wait for an answer before they ask again."""
        ends_s = self.begun_s + self._task.seconds

        async def caller(first: int) -> None:
            place = first
            while (due_s := time.perf_counter()) < ends_s:
                await self.ask(place, due_s)
                place += self._task.callers

        await asyncio.gather(*map(caller, range(self._task.callers)))

    async def open(self) -> None:
        """Arrivals that do not wait for anybody. A thread keeps the time, since loops know only whole milliseconds."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        done = asyncio.Event()
        arrivals_s = poisson_arrivals(self._task.rate_per_s, self._task.seconds, self._task.seed)
        self.begun_s = begun_s = time.perf_counter() + 0.05

        def start(place: int, due_s: float) -> None:
            task = loop.create_task(self.ask(place, due_s))
            tasks.add(task)

        def keep_time() -> None:
            for place, at_s in enumerate(arrivals_s):
                time.sleep(max(begun_s + at_s - time.perf_counter(), 0))
                loop.call_soon_threadsafe(start, place, begun_s + at_s)
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=keep_time, daemon=True).start()
        await done.wait()
        await asyncio.gather(*tasks)

    async def burst(self) -> None:
        """Many callers at once who all leave soon after."""
        now_s = time.perf_counter()
        tasks = [asyncio.create_task(self.ask(place, now_s)) for place in range(self._task.count)]
        await asyncio.sleep(self._task.cancel_after_s)
        self.server_cpu_s_at_cancel = cpu_s(self._task.server_pids)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.2)  # the cancellations still have to be sent

    def judge(self) -> None:
        """Reads the answers; one that came after its deadline is late, whatever it says."""
        for sent in self.sent:
            answer = sent.answer
            if isinstance(answer, bytes):
                late = sent.ended_s - sent.due_s > self._task.deadline_s
                sent.outcome = Outcome.LATE if late else self._driver.judge(answer)
            else:
                sent.outcome = answer


def main() -> None:
    """Runs the task on standard input."""
    print(json.dumps(uvloop.run(performed(Task(**json.load(sys.stdin))))))


def generate(task: Task) -> dict[str, Any]:
    """Has a process of its own do the task; returns its result."""
    command = [sys.executable, str(Path(__file__))]
    done = subprocess.run(command, input=json.dumps(asdict(task)), stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def performed(task: Task) -> dict[str, Any]:
    """The result of a task."""
    sys.setswitchinterval(0.0005)
    driver: Driver = DRIVERS[task.driver](task.address, corpus(task.texts, task.text_count, task.salt))
    await driver.open()
    run = Run(task, driver)
    begun_cpu_s = time.process_time()
    try:
        await {"closed": run.closed, "open": run.open, "burst": run.burst}[task.mode]()
    finally:
        await driver.close()
    took_s = time.perf_counter() - run.begun_s
    cores = (time.process_time() - begun_cpu_s) / took_s
    run.judge()
    result = summary(run.sent, run.begun_s, task) if task.mode != "burst" else burst_summary(run)
    return {**result, "sent": len(run.sent), "seconds": rounded(took_s), "generator_cores": rounded(cores)}


def summary(sent: list[Sent], begun_s: float, task: Task) -> dict[str, Any]:
    """Rates count what ended after the warm-up and before the end; shares and latencies count what was due then."""
    counted_s = task.seconds - task.warm_up_s
    from_s, to_s = begun_s + task.warm_up_s, begun_s + task.seconds
    due = [one for one in sent if one.due_s >= from_s]
    took_ms = {outcome: [_took_ms(one) for one in due if one.outcome is outcome] for outcome in Outcome}
    verdicts = took_ms[Outcome.VERDICT]
    ended = sum(one.outcome is Outcome.VERDICT and from_s <= one.ended_s < to_s for one in sent)
    result = {
        "outcomes": {outcome.value: len(times) for outcome, times in took_ms.items()},
        "verdicts_per_s": rounded(ended / counted_s),
        "goodput_per_s": rounded(len(verdicts) / counted_s),
        "late_share": rounded(len(took_ms[Outcome.LATE]) / max(len(due), 1)),
        "latency": latencies(verdicts, len(due) - len(verdicts)),
        "refusal": latencies(took_ms[Outcome.CONSERVATIVE]),
    }
    return {**result, "buckets": buckets(due, from_s, task.bucket_s)} if task.bucket_s else result


def buckets(due: list[Sent], from_s: float, bucket_s: float) -> list[dict[str, Any]]:
    """Latencies over time."""
    rows: dict[int, list[Sent]] = {}
    for one in due:
        rows.setdefault(int((one.due_s - from_s) / bucket_s), []).append(one)
    return [{"at_s": place * bucket_s, **_latencies_of(rows[place])} for place in sorted(rows)]


def burst_summary(run: Run) -> dict[str, Any]:
    """How many were answered before their callers left."""
    counts = Counter(one.outcome.value if one.outcome else "left" for one in run.sent)
    return {"outcomes": dict(counts), "server_cpu_s_at_cancel": run.server_cpu_s_at_cancel}


def _latencies_of(some: list[Sent]) -> dict[str, Any]:
    verdicts = [_took_ms(one) for one in some if one.outcome is Outcome.VERDICT]
    return latencies(verdicts, len(some) - len(verdicts))


def _took_ms(one: Sent) -> float:
    return (one.ended_s - one.due_s) * 1000


if __name__ == "__main__":
    main()
