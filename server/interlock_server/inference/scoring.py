"""What a member has still to score of an exchange, and what came of it. Whatever a model does, the result is a MemberReport.

A Work is one member's part of one exchange: its windows wait, are scored in batches, and leave rows. It knows no thread:
whoever uses it from several holds a lock.
"""

import hashlib
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import Backend, Reading, RemoteBackend, Run, ScoreError, Span, Window
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.text.exchange import Exchange

Rows = NDArray[np.float64]
Row = list[float]
"""Scores by category and, of a gated member, how far the window is from what it knows."""
KnownRows = dict[str, dict[bytes, Row]]
"""Member -> digest of a window -> its scores: what a growing text need not have scored again."""
_KNOWN_MAX = 2_048  # windows of one text and member; beyond that they are scored again
_AS_IT_IS_READ = ("raw", "canonical")


@dataclass(frozen=True)
class Member:
    """A loaded classifier under its name; `categories` are the columns of its scores."""

    name: str
    categories: tuple[str, ...]
    backend: Backend | RemoteBackend
    gated: bool = False
    """One column more says how far a window is from what the member knows."""

    @property
    def lane(self) -> str:
        """Which lanes run it."""
        return self.backend.lane


@dataclass(frozen=True)
class MemberReport:
    """The evidence of one member, and how it came about."""

    evidence: MemberEvidence
    worst_windows: dict[str, Span] = field(default_factory=dict)
    coverage: tuple[Span, ...] = ()
    prompt_coverage: tuple[Span, ...] = ()
    windows_scored: int = 0
    tokens_scored: int = 0
    input_tokens: int = 0
    queue_s: float = 0.0
    read_s: float = 0.0
    infer_s: float = 0.0
    lasted_s: float = 0.0
    """From the beginning of the first run to the end of the last; 0 when there was none."""
    fault: bool = False
    """The model itself misbehaved, as against a text or a deadline that no model could have met."""
    distance: float | None = None
    """How far the farthest window of the text as it is read is from what the member knows, when all were scored."""
    distance_windows: int = 0


def absent(member: str, cause: MissingCause, queue_s: float = 0.0, fault: bool = False) -> MemberReport:
    """The report of a member that said nothing."""
    return MemberReport(MemberEvidence(member, missing=cause), queue_s=queue_s, fault=fault)


@dataclass(frozen=True)
class Outcome:
    """What a call of a model gave: a row for each window, None for a row that is no scores; or why there are none."""

    rows: Sequence[Row | None] = ()
    cause: MissingCause | None = None
    fault: bool = False


class Work:
    """One member's part of one exchange."""

    def __init__(self, member: Member, known: dict[bytes, Row] | None = None) -> None:
        self.member = member
        self._known = known
        self.pending: deque[Window] = deque()
        """Windows that nobody scores yet, in the order of the text."""
        self.window_s = 0.0
        """Predicted seconds for each of them."""
        self.alone = False
        """A batch with others has failed: from now on it shares none, so that no text takes others down with it."""
        self.cause: MissingCause | None = None
        self.fault = False
        self.begun_s: float | None = None
        self.ended_s = 0.0
        """When the last run ended, as far as any did."""
        self.read_s = self.infer_s = 0.0
        self._reading = Reading(())
        self._rows: dict[bytes, Row] = {}
        self._tokens = 0
        self._left = -1  # unread

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.cause is not None or self._left == 0

    def read(self, exchange: Exchange) -> None:
        """Cuts the exchange into windows, of which equal ones are scored once; never raises."""
        begun_s = time.monotonic()
        try:
            self._reading = self.member.backend.read(exchange)
            self._recall()
            self.pending = deque({w.key: w for w in self._reading.windows if w.key not in self._rows}.values())
        except BaseException:  # see `run`
            self.give_up(MissingCause.FAILED, fault=True)
        else:
            if not self._reading.windows:
                self.give_up(MissingCause.INVALID)
            self._left = len(self.pending)
        self.read_s = time.monotonic() - begun_s

    def _recall(self) -> None:
        """Windows that were scored when the text was shorter are not scored again."""
        if self._known:
            found = ((w.key, self._known.get(_digest(w.key))) for w in self._reading.windows)
            self._rows = {key: row for key, row in found if row is not None}

    def give_up(self, cause: MissingCause, fault: bool = False) -> None:
        """Nothing more is scored; the first cause stands."""
        if not self.over:
            self.cause, self.fault = cause, fault
        self.pending.clear()

    def record(self, window: Window, row: Row | None) -> None:
        """A window was scored; None is an answer that is no scores."""
        if row is None:
            self.give_up(MissingCause.INVALID, fault=True)
        elif window.key not in self._rows:
            self._rows[window.key] = row
            self._tokens += len(window.ids)
            self._left -= 1
            if self._known is not None and len(self._known) < _KNOWN_MAX:
                self._known[_digest(window.key)] = row

    def report(self, exchange: Exchange | None, submitted_s: float) -> MemberReport:
        """The evidence as far as there is any. Scores of some windows may prove harm; they never prove clearness."""
        cause = self.cause if self.over else MissingCause.TIMED_OUT
        places = [window for window in self._reading.windows if window.key in self._rows]
        scores, worst = self._worst(places)
        coverage = merge([window.span for window in places if window.view == "raw"])
        whole = exchange is not None and coverage == ((0, exchange.completion_bytes),)
        complete = cause is None and whole
        distance, distance_windows = self._farthest() if complete and self.member.gated else (None, 0)
        return MemberReport(
            MemberEvidence(self.member.name, scores, cause, coverage_complete=complete),
            worst,
            coverage,
            self._reading.prompt_spans,
            fault=self.fault,
            windows_scored=len(self._rows),
            tokens_scored=self._tokens,
            input_tokens=self._reading.input_tokens,
            queue_s=(self.begun_s or time.monotonic()) - submitted_s,
            read_s=self.read_s,
            infer_s=self.infer_s,
            lasted_s=max(self.ended_s - (self.begun_s or self.ended_s), 0.0),
            distance=distance,
            distance_windows=distance_windows,
        )

    def _farthest(self) -> tuple[float | None, int]:
        """The largest distance of the windows of the raw and the canonical view, and how many these are. What is decoded
        from a text is no longer the text: it is often a strange thing, and what is said in it is for the scores to tell.
        """
        keys = {window.key for window in self._reading.windows if window.view in _AS_IT_IS_READ}
        distances = [self._rows[key][-1] for key in keys]
        return (max(distances) if all(map(math.isfinite, distances)) else None), len(keys)

    def _worst(self, places: Sequence[Window]) -> tuple[dict[str, float], dict[str, Span]]:
        """The highest score per category over all windows, and the first one that has it."""
        scores: dict[str, float] = {}
        worst: dict[str, Span] = {}
        for window in places:
            row = self._rows[window.key][: len(self.member.categories)]
            for category, score in zip(self.member.categories, row, strict=True):
                if score > scores.get(category, -1.0):
                    scores[category], worst[category] = score, window.span
        return scores, worst


def run(member: Member, windows: Sequence[Window], handle: Run) -> Outcome:
    """One call of a model in this thread; never raises."""
    backend = cast(Backend, member.backend)
    try:
        return checked(backend.score(windows, handle), len(windows), len(member.categories), member.gated)
    except ScoreError as error:
        return failed(error)
    # A model may raise anything, also a panic of native code, which is no Exception and would end the lane. That it did is
    # all that is reported, since messages may quote text. Being stopped ends a run with an error too.
    except BaseException:
        cause = MissingCause.TIMED_OUT if handle.stopped else MissingCause.FAILED
        return Outcome(cause=cause, fault=not handle.stopped)


def checked(rows: object, size: int, columns: int, gated: bool = False) -> Outcome:
    """What a model returned: invalid as a whole when it is not a row for each window, else row by row."""
    if not isinstance(rows, np.ndarray) or rows.shape != (size, columns + gated):
        return Outcome(cause=MissingCause.INVALID, fault=True)
    # What is not a number compares as false. A distance may be anything: only the gate is closed by a wrong one.
    return Outcome([row if all(0 <= score <= 1 for score in row[:columns]) else None for row in rows.tolist()])


def failed(error: ScoreError) -> Outcome:
    """Why a backend gave no scores, in its own words. Being busy is no fault of the model."""
    cause = MissingCause[error.cause]
    return Outcome(cause=cause, fault=cause not in (MissingCause.OVERLOADED, MissingCause.TIMED_OUT))


def score_exchange(member: Member, exchange: Exchange) -> MemberReport:
    """What a member in this process says of one exchange, in this thread, window by window and without a deadline."""
    work = Work(member)
    submitted_s = work.begun_s = time.monotonic()
    work.read(exchange)
    while work.pending:
        window = work.pending.popleft()
        begun_s = time.monotonic()
        outcome = run(member, [window], Run())
        work.infer_s += time.monotonic() - begun_s
        if outcome.cause is not None:
            work.give_up(outcome.cause, outcome.fault)
        for row in outcome.rows:
            work.record(window, row)
    return work.report(exchange, submitted_s)


def _digest(key: bytes) -> bytes:
    """What a window is known by: its ids can be two kilobytes."""
    return hashlib.blake2b(key, digest_size=32).digest()


def merge(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The union of half-open ranges, as disjoint ranges in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)
