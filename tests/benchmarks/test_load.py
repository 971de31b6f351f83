"""The generator: schedules without omission, outcomes, bounds. Its servers are fakes within the process."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from drivers import EchoDriver, InterlockDriver, Outcome, TritonDriver
from interlock.v1 import safety_filter_pb2 as pb
from load import Run, Task, summary
from texts import Text


class FakeDriver:
    """A server in a line."""

    def __init__(self, answer: Callable[[int], Awaitable[bytes | Outcome]]) -> None:
        self._answer = answer

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def send(self, place: int, timeout_s: float) -> bytes | Outcome:
        """Whatever `answer` does, within the time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(place)
        except TimeoutError:
            return Outcome.LATE

    def judge(self, answer: bytes) -> Outcome:
        """Any is whole."""
        return Outcome.VERDICT


async def quick(place: int) -> bytes:
    """Answers at once."""
    return b"fine"


async def never(place: int) -> bytes:
    """Does not answer."""
    await asyncio.Event().wait()
    return b""


async def stalled_at_first(place: int) -> bytes:
    """Blocks everybody, the generator too, for 200 ms."""
    if place == 0:
        time.sleep(0.2)  # noqa: ASYNC251  that it blocks is the point
    return b"fine"


async def ran(task: Task, answer: Callable[[int], Awaitable[bytes | Outcome]]) -> Run:
    """A run that has ended."""
    run = Run(task, FakeDriver(answer))
    await getattr(run, task.mode)()
    run.judge()
    return run


def open_task(**changes: float) -> Task:
    """An open loop of 200 requests."""
    return Task("", mode="open", rate_per_s=400, seconds=0.5, warm_up_share=0.0, **changes)  # type: ignore[arg-type]


async def test_a_stall_is_seen_in_what_waited_behind_it():
    """Requests that were due during the stall are slow, although each was answered at once when it was sent."""
    run = await ran(open_task(), stalled_at_first)
    slow = [one for one in run.sent if one.ended_s - one.due_s > 0.05]

    assert 30 < len(slow)


async def test_a_request_that_cannot_be_sent_in_time_is_late():
    """The generator's own delay counts against nobody else."""
    run = await ran(open_task(deadline_s=0.1), stalled_at_first)

    assert 10 < sum(one.outcome is Outcome.LATE for one in run.sent)


async def test_no_request_is_left_out():
    """Beyond the bound on requests in flight they are errors."""
    run = await ran(open_task(in_flight_max=10, deadline_s=2.0), never)
    outcomes = [one.outcome for one in run.sent]

    assert 10 == outcomes.count(Outcome.LATE)
    assert len(outcomes) - 10 == outcomes.count(Outcome.ERROR) > 100


async def test_a_closed_loop_has_as_many_in_flight_as_callers():
    """Each waits for its answer."""
    waiting, most = 0, 0

    async def answer(place: int) -> bytes:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.005)
        waiting -= 1
        return b"fine"

    await ran(Task("", callers=3, seconds=0.1), answer)

    assert 3 == most


async def test_callers_of_a_burst_leave():
    """Whoever has no answer by then has none."""
    run = await ran(Task("", mode="burst", count=20), never)

    assert [None] * 20 == [one.outcome for one in run.sent]


async def test_a_summary_counts_the_late_against_the_latency():
    """Half of the requests never answered: there is a p50, and no p99."""

    async def every_second(place: int) -> bytes | Outcome:
        return b"fine" if place % 2 else Outcome.CONSERVATIVE

    task = open_task(bucket_s=0.1)
    run = await ran(task, every_second)
    found = summary(run.sent, run.begun_s, task)

    assert found["outcomes"]["verdict"] + found["outcomes"]["conservative"] == len(run.sent)
    assert found["latency"]["p99_ms"] is None
    assert 5 <= len(found["buckets"])


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (pb.Verdict(decision=pb.DECISION_RELEASE), Outcome.VERDICT),
        (pb.Verdict(reasons=[pb.REASON_HARMFUL]), Outcome.VERDICT),
        (pb.Verdict(reasons=[pb.REASON_HARMFUL, pb.REASON_MEMBER_TIMED_OUT]), Outcome.CONSERVATIVE),
        (pb.Verdict(reasons=[pb.REASON_OVERLOADED]), Outcome.CONSERVATIVE),
        (pb.Verdict(members=[pb.MemberResult(missing=pb.MISSING_CAUSE_OVERLOADED)]), Outcome.CONSERVATIVE),
    ],
)
def test_a_verdict_counts_if_every_member_answered(verdict: pb.Verdict, outcome: Outcome):
    """Withheld for harm is a verdict; withheld for want of time is not."""
    driver = InterlockDriver("", [])

    assert outcome is driver.judge(pb.ScreenResponse(verdict=verdict).SerializeToString())


def test_a_triton_request_is_well_formed():
    """Written by hand, read here by protobuf's own rules: field 5 twice, each a tensor that ends in its text."""
    message = TritonDriver("", []).request(Text("Who?", "x" * 300))

    assert message.startswith(b"\x0a\x08ensemble\x2a\x1a\x0a\x06prompt\x12\x05BYTES\x1a\x01\x01\x2a\x06\x42\x04Who?")
    assert b"\x42\xac\x02" + b"x" * 300 in message
    assert EchoDriver("", []).request(Text("a", "b")) == b"ab"
