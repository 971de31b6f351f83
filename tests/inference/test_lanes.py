"""The lanes: every inquiry is answered once, whatever its models do, and work goes on."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import BENIGN, Hang, Panic, fake_member, scores
from interlock_server.backends.backend import Run
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.inference.batching import BULK, INTERACTIVE, Inquiry
from interlock_server.inference.lanes import Lanes, RunRecord, Surroundings
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange

PATIENT_S = 30.0
GRACE_S = 0.01
Missing = dict[str, MissingCause | None]


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it does."""
    ends_s = time.monotonic() + PATIENT_S
    while not holds():
        assert time.monotonic() < ends_s, "it never came true"
        time.sleep(0.002)


class Engine:
    """Lanes of one sort, and what came of the inquiries that they were given."""

    def __init__(self, count: int = 1, size_max: int = 1_000, niceness: int = 0) -> None:
        self.answers: list[Missing] = []
        self.runs: list[RunRecord] = []
        self.lock = threading.Lock()
        around = Surroundings(self.lock, self._place, lambda inquiry: None, self.runs.append)
        self.lanes = Lanes("cpu", count, size_max, niceness, around)

    def inquiry(
        self, *members: Member, deadline_in_s: float = 60.0, priority: int = INTERACTIVE, opening: Any = None
    ) -> Inquiry:
        """Not yet submitted."""
        now_s = time.monotonic()
        opening = opening or (lambda: Exchange("", BENIGN))
        asked = Inquiry(opening, members, deadline_s=now_s + deadline_in_s, submitted_s=now_s, priority=priority)
        asked.on_settled = lambda: self.answers.append({r.evidence.member: r.evidence.missing for r in asked.reports()})
        return asked

    def ask(self, *members: Member, **options: Any) -> bool:
        """Whether there was room for it."""
        return self.submit(self.inquiry(*members, **options))

    def submit(self, inquiry: Inquiry) -> bool:
        """As the panel does it."""
        with self.lock:
            return self.lanes.submit(inquiry)

    def wait_for(self, count: int) -> list[Missing]:
        """The answers, once there are so many."""
        eventually(lambda: len(self.answers) >= count)
        return self.answers

    def _place(self, items: Any) -> None:
        self.lanes.add(items)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One lane."""
    made = Engine()
    yield made
    made.lanes.close(PATIENT_S)


@pytest.fixture
def hang() -> Iterator[Hang]:
    """A hanging model that ends with the test."""
    hanging = Hang()
    yield hanging
    hanging.release()


def test_every_inquiry_is_answered_once():
    """Two lanes, a hundred inquiries of two members."""
    engine = Engine(2)
    for _ in range(100):
        engine.ask(fake_member("alpha"), fake_member("beta", windows=3))
    engine.wait_for(100)
    engine.lanes.close(PATIENT_S)

    assert [{"alpha": None, "beta": None}] * 100 == engine.answers


def test_idle_lanes_share_one_inquiry():
    """At low load its members run side by side: both wait here until both have begun."""
    engine, both = Engine(2), threading.Barrier(2)
    meets = lambda run: both.wait(PATIENT_S) is None or scores()  # noqa: E731
    engine.ask(fake_member("alpha", meets), fake_member("beta", meets))

    assert [{"alpha": None, "beta": None}] == engine.wait_for(1)
    engine.lanes.close(PATIENT_S)


def test_a_full_queue_refuses(hang: Hang):
    """Rather than to let waits grow."""
    engine = Engine(size_max=2)
    engine.ask(fake_member("alpha", hang))
    assert hang.begun.wait(PATIENT_S)

    assert [True, True, False] == [engine.ask(fake_member("beta")) for _ in range(3)]
    hang.release()
    engine.lanes.close(PATIENT_S)


@pytest.mark.parametrize("gone", [True, False])
def test_the_dead_make_room(hang: Hang, gone: bool):
    """What nobody waits for, because the caller has gone or it is late, holds no place and is never run."""
    engine, beta = Engine(size_max=1), fake_member("beta")
    engine.ask(fake_member("alpha", hang))
    assert hang.begun.wait(PATIENT_S)
    dead = engine.inquiry(beta, deadline_in_s=60.0 if gone else -1.0)
    engine.submit(dead)
    dead.closed = gone

    assert engine.ask(fake_member("gamma"))
    hang.release()
    engine.wait_for(2)
    assert 0 == beta.backend.asked  # type: ignore[attr-defined]
    engine.lanes.close(PATIENT_S)


def test_closed_lanes_refuse_and_finish(engine: Engine):
    """What waits is still done."""
    for _ in range(20):
        engine.ask(fake_member("alpha"))
    engine.lanes.close(PATIENT_S)

    assert 20 == len(engine.answers)
    assert not engine.ask(fake_member("alpha"))


def test_bulk_waits_for_no_more_than_the_run_under_way(hang: Hang, engine: Engine):
    """An interactive inquiry that comes last goes before all bulk that waits."""
    order: list[str] = []
    engine.ask(fake_member("first", hang), priority=BULK)
    assert hang.begun.wait(PATIENT_S)
    for name, priority in [("bulk", BULK), ("bulk", BULK), ("interactive", INTERACTIVE)]:
        engine.ask(fake_member(name, lambda run, name=name: order.append(name) or scores()), priority=priority)
    hang.release()
    engine.wait_for(4)

    assert ["interactive", "bulk", "bulk"] == order


def test_an_exchange_that_cannot_be_judged_settles(engine: Engine):
    """No member is asked."""
    alpha = fake_member("alpha")
    engine.ask(alpha, opening=lambda: Reason.INPUT_EMPTY)
    engine.wait_for(1)

    assert 0 == alpha.backend.asked  # type: ignore[attr-defined]


def test_an_exchange_that_cannot_be_read_settles(engine: Engine):
    """The lane lives on, and who asked finds the error."""
    failing = engine.inquiry(fake_member("alpha"), opening=lambda: 1 / 0)
    engine.submit(failing)
    engine.ask(fake_member("beta"))

    assert [{"alpha": MissingCause.TIMED_OUT}, {"beta": None}] == engine.wait_for(2)
    assert isinstance(failing.error, ZeroDivisionError)


def test_a_hung_lane_is_replaced_and_answered_for_once(engine: Engine, hang: Hang):
    """Its member is at fault, the next one runs in a new lane, and the late answer is thrown away."""
    engine.ask(fake_member("alpha", hang), deadline_in_s=0.5)
    assert hang.begun.wait(PATIENT_S)
    engine.ask(fake_member("beta"))
    lost = engine.lanes.tick(time.monotonic() + 1.0, GRACE_S)
    engine.wait_for(2)
    hang.release()
    eventually(lambda: engine.lanes.tick(time.monotonic(), GRACE_S) == 0)

    assert (1, [{"alpha": MissingCause.TIMED_OUT}, {"beta": None}]) == (lost, engine.answers)
    assert [False, True] == [run.good for run in engine.runs]


def test_a_reader_that_hangs_is_answered_for(engine: Engine, hang: Hang):
    """Not only models hang."""
    alpha = fake_member("alpha")
    alpha.backend.read = hang  # type: ignore[method-assign, assignment]
    engine.ask(alpha, deadline_in_s=0.05)
    assert hang.begun.wait(PATIENT_S)
    engine.lanes.tick(time.monotonic() + 1.0, GRACE_S)
    engine.ask(fake_member("beta"))

    assert [{"alpha": MissingCause.TIMED_OUT}, {"beta": None}] == engine.wait_for(2)


def test_a_late_lane_is_left_alone_within_its_grace(engine: Engine, hang: Hang):
    """A model may be a little late."""
    engine.ask(fake_member("alpha", hang))
    assert hang.begun.wait(PATIENT_S)

    assert 0 == engine.lanes.tick(time.monotonic(), GRACE_S)
    hang.release()
    assert [{"alpha": None}] == engine.wait_for(1)


def test_a_clock_that_jumps_loses_nothing(engine: Engine, hang: Hang):
    """A lane that was taken for hung is replaced; others are asked on."""
    engine.ask(fake_member("alpha", hang))
    assert hang.begun.wait(PATIENT_S)
    for now_s in (0.0, time.monotonic() + 1e9, time.monotonic()):
        engine.lanes.tick(now_s, GRACE_S)
    engine.ask(fake_member("beta"))

    assert {"beta": None} in engine.wait_for(2)


def test_the_run_of_a_hung_lane_is_stopped(engine: Engine):
    """A model that can be stopped gives its thread back."""
    begun, stopped = threading.Event(), threading.Event()

    def waits(run: Run) -> None:
        run.on_stop(stopped.set)
        begun.set()
        assert stopped.wait(PATIENT_S)

    engine.ask(fake_member("alpha", waits), deadline_in_s=0.05)
    eventually(lambda: begun.is_set() or bool(engine.answers))
    engine.lanes.tick(time.monotonic() + 1.0, GRACE_S)

    assert stopped.wait(PATIENT_S) or not begun.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the thread is meant to die
def test_a_dead_lane_is_replaced(engine: Engine):
    """Whatever killed the thread: work goes on."""

    def ends_the_thread() -> None:
        raise SystemExit

    deadly = engine.inquiry(fake_member("alpha"))
    deadly.on_settled = ends_the_thread
    engine.submit(deadly)
    eventually(lambda: not engine.lanes._working[0].alive())
    engine.lanes.tick(time.monotonic(), GRACE_S)
    engine.ask(fake_member("beta"))

    assert [{"beta": None}] == engine.wait_for(1)


def test_a_panic_does_not_end_a_lane(engine: Engine):
    """Native code raises what is no Exception."""

    def panics(run: Run) -> None:
        raise Panic

    engine.ask(fake_member("alpha", panics))
    engine.ask(fake_member("beta"))

    assert [{"alpha": MissingCause.FAILED}, {"beta": None}] == engine.wait_for(2)


def test_a_model_with_too_few_rows_is_invalid(engine: Engine):
    """No row is made up, and none is given to the wrong window."""
    engine.ask(fake_member("alpha", lambda run: scores()[:0]))

    assert [{"alpha": MissingCause.INVALID}] == engine.wait_for(1)


def test_ten_thousand_waiting_are_all_answered():
    """Or refused; none is lost."""
    engine, alpha = Engine(2, size_max=5_000), fake_member("alpha")
    accepted = sum(engine.ask(alpha) for _ in range(10_000))

    assert accepted == len(engine.wait_for(accepted))
    engine.lanes.close(PATIENT_S)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_lanes_yield_to_the_thread_that_answers():
    """Or answers would wait for models."""
    engine, found = Engine(niceness=7), []
    engine.ask(
        fake_member("alpha", lambda run: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    )
    engine.wait_for(1)
    engine.lanes.close(PATIENT_S)

    assert [os.getpriority(os.PRIO_PROCESS, 0) + 7] == found
