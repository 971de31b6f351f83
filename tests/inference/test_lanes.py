"""The queue and the lanes: order, limits, and what happens when a lane hangs or dies."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import BENIGN, Hang, Panic, fake_member
from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.lanes import JobQueue, Lanes
from interlock_server.inference.scoring import Job, Member, MemberReport
from interlock_server.text.exchange import Exchange

PATIENT_S = 30.0
GRACE_S = 0.01


class Answers(list[MemberReport]):
    """What `done` was called with."""

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self) >= count)


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it does."""
    ends_s = time.monotonic() + PATIENT_S
    while not holds():
        assert time.monotonic() < ends_s, "it never came true"
        time.sleep(0.002)


def job(
    answers: list[MemberReport], member: Member | None = None, priority: int = 0, deadline_in_s: float = 60.0
) -> Job:
    deadline_s = time.monotonic() + deadline_in_s
    return Job(member or fake_member("alpha"), Exchange("", BENIGN), deadline_s, priority, done=answers.append)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def hang() -> Iterator[Hang]:
    """A hanging model that ends with the test."""
    hanging = Hang()
    yield hanging
    hanging.release()


def lanes(queue: JobQueue, count: int = 1, lost: list[int] | None = None) -> Lanes:
    return Lanes(count, queue, GRACE_S, on_lost=(lost if lost is not None else []).append)


def test_the_urgent_and_the_earliest_come_first(answers: Answers):
    """By priority, then by deadline, then by arrival."""
    queue = JobQueue(10)
    jobs = [job(answers, priority=p, deadline_in_s=d) for p, d in [(1, 5.0), (0, 9.0), (0, 7.0), (1, 3.0)]]
    for item in jobs:
        queue.put(item)

    assert [jobs[2], jobs[1], jobs[3], jobs[0]] == [queue.take() for _ in jobs]


def test_equals_are_taken_in_order(answers: Answers):
    """First come, first served."""
    queue = JobQueue(10)
    jobs = [job(answers) for _ in range(5)]
    for item in jobs:
        item.deadline_s = 1e9
        queue.put(item)

    assert jobs == [queue.take() for _ in jobs]


def test_a_full_queue_refuses(answers: Answers):
    """Rather than to let waits grow."""
    queue = JobQueue(2)

    assert [True, True, False] == [queue.put(job(answers)) for _ in range(3)]
    assert 2 == len(queue)


@pytest.mark.parametrize("withdrawn", [True, False])
def test_the_dead_make_room(answers: Answers, withdrawn: bool):
    """A job whose caller has gone, or that is late, is answered, and its place is free."""
    queue = JobQueue(1)
    dead = job(answers, deadline_in_s=60.0 if withdrawn else -1.0)
    queue.put(dead)
    dead.withdrawn = withdrawn
    fresh = job(answers)

    assert queue.put(fresh)
    assert [MissingCause.TIMED_OUT] == [report.evidence.missing for report in answers]
    assert fresh is queue.take()


def test_a_closed_queue_refuses_and_empties(answers: Answers):
    """What waits is still handed out, then None."""
    queue = JobQueue(2)
    waiting = job(answers)
    queue.put(waiting)
    queue.close()

    assert [False, waiting, None] == [queue.put(job(answers)), queue.take(), queue.take()]


def test_closing_wakes_those_who_wait():
    """A lane that waits for work ends."""
    queue = JobQueue(2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(queue.take)
        queue.close()

        assert waiting.result(PATIENT_S) is None


def test_lanes_answer_every_job_once(answers: Answers):
    """Two lanes, a hundred jobs."""
    queue = JobQueue(100)
    working = lanes(queue, 2)
    for _ in range(100):
        queue.put(job(answers))
    answers.wait_for(100)
    working.close(PATIENT_S)

    assert [None] * 100 == [report.evidence.missing for report in answers]


def test_closing_finishes_what_waits(answers: Answers):
    """Nobody is left without an answer."""
    queue = JobQueue(100)
    working = lanes(queue)
    for _ in range(20):
        queue.put(job(answers))
    working.close(PATIENT_S)

    assert 20 == len(answers)


def test_a_dead_job_is_answered_not_run(answers: Answers):
    """Work that nobody waits for is dropped before it runs."""
    queue = JobQueue(2)
    member = fake_member("alpha")
    queue.put(job(answers, member, deadline_in_s=-1.0))
    working = lanes(queue)
    working.close(PATIENT_S)

    assert ([MissingCause.TIMED_OUT], 0) == ([a.evidence.missing for a in answers], member.backend.asked)  # type: ignore[attr-defined]


def test_a_hung_lane_is_replaced_and_its_job_answered_once(answers: Answers, hang: Hang):
    """The job times out as the member's fault, the next one runs in a new lane, and the late answer is thrown away."""
    queue, lost = JobQueue(4), list[int]()
    working = lanes(queue, 1, lost)
    queue.put(job(answers, fake_member("alpha", hang), deadline_in_s=0.05))
    queue.put(job(answers, fake_member("beta")))
    assert hang.begun.wait(PATIENT_S)
    working.tick(time.monotonic() + 1.0)
    answers.wait_for(2)
    hang.release()
    eventually(lambda: working.tick(time.monotonic()) or lost[-1] == 0)
    working.close(PATIENT_S)

    found = {report.evidence.member: (report.evidence.missing, report.fault) for report in answers}
    assert {"alpha": (MissingCause.TIMED_OUT, True), "beta": (None, False)} == found
    assert 2 == len(answers)
    assert 1 == max(lost)


def test_a_late_lane_is_left_alone_within_its_grace(answers: Answers, hang: Hang):
    """A model may be a little late."""
    queue, lost = JobQueue(4), list[int]()
    working = lanes(queue, 1, lost)
    queue.put(job(answers, fake_member("alpha", hang), deadline_in_s=60.0))
    assert hang.begun.wait(PATIENT_S)
    working.tick(time.monotonic())
    hang.release()
    working.close(PATIENT_S)

    assert ([0], [None]) == (lost, [report.evidence.missing for report in answers])


def test_the_run_of_a_hung_lane_is_stopped(answers: Answers):
    """A model that can be stopped gives its thread back."""
    queue = JobQueue(4)
    stopped = threading.Event()

    def waits(run: object) -> None:
        run.on_stop(stopped.set)  # type: ignore[attr-defined]
        assert stopped.wait(PATIENT_S)

    working = lanes(queue)
    slow = job(answers, fake_member("alpha", waits), deadline_in_s=0.05)
    queue.put(slow)
    eventually(lambda: len(queue) == 0)
    working.tick(time.monotonic() + 1.0)
    working.close(PATIENT_S)

    assert stopped.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the thread is meant to die
def test_a_dead_lane_is_replaced(answers: Answers):
    """Whatever killed the thread: work goes on."""

    def ends_the_thread(report: MemberReport) -> None:
        raise SystemExit

    queue = JobQueue(4)
    working = lanes(queue)
    deadly = job(answers)
    deadly.done = ends_the_thread
    queue.put(deadly)
    eventually(lambda: not working._working[0].alive())
    working.tick(time.monotonic())
    queue.put(job(answers))
    answers.wait_for(1)
    working.close(PATIENT_S)

    assert [None] == [report.evidence.missing for report in answers]


def test_a_panic_does_not_end_a_lane(answers: Answers):
    """Native code raises what is no Exception."""

    def panics(run: object) -> None:
        raise Panic

    queue = JobQueue(4)
    working = lanes(queue)
    queue.put(job(answers, fake_member("alpha", panics)))
    queue.put(job(answers))
    answers.wait_for(2)
    working.close(PATIENT_S)

    assert [MissingCause.FAILED, None] == [report.evidence.missing for report in answers]
