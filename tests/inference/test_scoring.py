"""Performing a job: whatever the model does, the result is a report, and nothing in it is made up."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fakes import BENIGN, CATEGORIES, FakeBackend, Panic, fake_member, scores
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.backends.backend import Reading, Run, ScoreError, Window
from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.scoring import Member, MemberReport, Work, absent, merge, score_exchange
from interlock_server.text.exchange import Exchange

EXCHANGE = Exchange("", BENIGN)


def run(answer: Callable[[Run], Any], windows: int = 1) -> MemberReport:
    return score_exchange(fake_member("alpha", answer, windows), EXCHANGE)


def raises(error: BaseException) -> Callable[[Run], Any]:
    def answer(run: Run) -> Any:
        raise error

    return answer


def test_a_good_answer_is_evidence():
    """A score for each category, and the whole completion covered."""
    report = run(lambda run: scores(0.25))

    assert (dict.fromkeys(CATEGORIES, 0.25), None, True) == (
        report.evidence.scores,
        report.evidence.missing,
        report.evidence.coverage_complete,
    )
    assert not report.fault


def test_the_worst_window_counts():
    """And it is known which one it was."""
    answers = iter([scores(0.1), scores(0.9), scores(0.2)])
    report = run(lambda run: next(answers), windows=3)
    third = len(BENIGN) / 3

    assert dict.fromkeys(CATEGORIES, 0.9) == report.evidence.scores
    assert (int(third), int(2 * third)) == report.worst_windows["illicit"]


@pytest.mark.parametrize("error", [RuntimeError(BENIGN), MemoryError(), Panic(BENIGN), SystemExit(BENIGN)])
def test_an_exception_is_a_failure_and_is_not_quoted(error: BaseException):
    """Also one that is no Exception: a panic of native code must not end the lane."""
    report = run(raises(error))

    assert (MissingCause.FAILED, {}, True) == (report.evidence.missing, report.evidence.scores, report.fault)
    assert BENIGN not in repr(report)


def test_a_reader_that_fails_is_a_failure():
    """Not only the model can."""
    member = fake_member("alpha")
    member.backend.read = raises(RuntimeError(BENIGN))  # type: ignore[method-assign, assignment]

    assert absent("alpha", MissingCause.FAILED).evidence == score_exchange(member, EXCHANGE).evidence


@pytest.mark.parametrize(
    "rows",
    [
        scores(math.nan),
        scores(math.inf),
        scores(-0.001),
        scores(1.001),
        np.zeros((0, 4)),  # too few rows
        np.zeros((2, 4)),
        np.zeros((1, 3)),
        np.zeros(4),
        None,
        [[0.1, 0.1, 0.1, 0.1]],
    ],
)
def test_an_answer_that_is_no_scores_is_invalid(rows: Any):
    """Not a number, out of range, the wrong shape, no array."""
    report = run(lambda run: rows)

    assert (MissingCause.INVALID, {}, True) == (report.evidence.missing, report.evidence.scores, report.fault)


@pytest.mark.parametrize("rows", [np.full((1, 4), "0.1"), np.full((1, 4), None)])
def test_an_array_of_something_else_is_no_evidence(rows: Any):
    """Under whichever name."""
    assert run(lambda run: rows).evidence.missing in (MissingCause.INVALID, MissingCause.FAILED)


def test_scores_before_a_bad_window_are_kept():
    """They may prove harm; missing is set, so that they never prove clearness."""
    answers = iter([scores(0.9), scores(math.nan)])
    report = run(lambda run: next(answers), windows=2)

    assert (0.9, MissingCause.INVALID, False) == (
        report.evidence.scores["illicit"],
        report.evidence.missing,
        report.evidence.coverage_complete,
    )


def test_a_stopped_run_is_late_not_broken():
    """Being stopped ends a run with an error, for which the member is not to blame."""

    def terminated(run: Run) -> Any:
        run.stop()  # as the panel does from another thread, once the deadline has passed
        raise RuntimeError("terminated")

    report = run(terminated)

    assert (MissingCause.TIMED_OUT, False) == (report.evidence.missing, report.fault)


@pytest.mark.parametrize(
    ("cause", "fault"), [("OVERLOADED", False), ("TIMED_OUT", False), ("FAILED", True), ("INVALID", True)]
)
def test_a_backend_may_say_why_it_has_no_scores(cause: Any, fault: bool):
    """Being busy is no fault of the model."""
    report = run(raises(ScoreError(cause)))

    assert (MissingCause[cause], fault) == (report.evidence.missing, report.fault)


class Repetitive(FakeBackend):
    """Four windows, of two sorts."""

    def read(self, exchange: Exchange) -> Reading:
        size = exchange.completion_bytes
        cuts = [(0, 10), (10, 20), (20, 30), (30, size)]
        return Reading([Window(np.array([place % 2]), "raw", span) for place, span in enumerate(cuts)])


def test_equal_windows_are_scored_once():
    """And cover the text all the same."""
    backend = Repetitive()
    report = score_exchange(Member("alpha", tuple(CATEGORIES), backend), EXCHANGE)

    assert (2, 2, True) == (backend.asked, report.windows_scored, report.evidence.coverage_complete)


def test_a_text_without_windows_is_no_evidence_and_no_fault():
    """A caller can send what a tokenizer drops; that must not make the member look broken."""
    member = fake_member("alpha")
    member.backend.read = lambda exchange: Reading([])  # type: ignore[method-assign]
    report = score_exchange(member, EXCHANGE)

    assert (MissingCause.INVALID, False) == (report.evidence.missing, report.fault)


def test_a_gap_is_incomplete_coverage():
    """Scores for some of the bytes are not scores for all."""
    member = fake_member("alpha")
    member.backend.read = lambda exchange: Reading([Window(np.array([1]), "raw", (0, 5))])  # type: ignore[method-assign]

    assert not score_exchange(member, EXCHANGE).evidence.coverage_complete


def test_only_the_raw_view_counts_as_coverage():
    """A canonical view leaves out what it folded away."""
    whole = Window(np.array([1]), "canonical", (0, len(BENIGN)))
    member = fake_member("alpha")
    member.backend.read = lambda exchange: Reading([whole])  # type: ignore[method-assign]

    assert not score_exchange(member, EXCHANGE).evidence.coverage_complete


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)).map(lambda pair: (pair[0], sum(pair)))))
def test_merged_ranges_hold_the_same_bytes(spans: list[tuple[int, int]]):
    """In order and apart."""
    merged = [byte for start, end in merge(spans) for byte in range(start, end)]

    assert sorted({byte for start, end in spans for byte in range(start, end)}) == merged


def test_windows_of_a_growing_text_are_scored_once():
    """What was scored when the text was shorter is known, and gives the same evidence."""
    known: dict[bytes, list[float]] = {}
    member = fake_member("alpha", windows=3)
    exchange = Exchange("", BENIGN)
    works = []
    for _ in range(2):
        work = Work(member, known)
        work.read(exchange)
        works.append(len(work.pending))
        for window in list(work.pending):
            work.record(window, [0.2] * len(CATEGORIES))
        report = work.report(exchange, 0.0)

    assert [3, 0] == works
    assert (True, 0.2) == (report.evidence.coverage_complete, report.evidence.scores["illicit"])
