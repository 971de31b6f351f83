"""One job: one member reads one exchange, within a deadline. Whatever the model does, the result is a MemberReport."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import Backend, Run, Span, Window
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.text.exchange import Exchange


@dataclass(frozen=True)
class Member:
    """A loaded classifier under its name; `categories` are the columns of its scores."""

    name: str
    categories: tuple[str, ...]
    backend: Backend


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
    fault: bool = False
    """The model itself misbehaved, as against a text or a deadline that no model could have met."""


def absent(member: str, cause: MissingCause, queue_s: float = 0.0, fault: bool = False) -> MemberReport:
    """The report of a member that said nothing."""
    return MemberReport(MemberEvidence(member, missing=cause), queue_s=queue_s, fault=fault)


@dataclass(eq=False)
class Job:
    """A member, what it is to read, and until when. `done` is called exactly once, from the lane."""

    member: Member
    exchange: Exchange
    deadline_s: float
    priority: int
    done: Callable[[MemberReport], None]
    cost_s: float = 0.0
    submitted_s: float = field(default_factory=time.monotonic)
    run: Run = field(default_factory=Run)
    withdrawn: bool = False

    def dead(self, now_s: float) -> bool:
        """Nobody waits for it any more."""
        return self.withdrawn or now_s >= self.deadline_s


def perform(job: Job) -> MemberReport:
    """Runs the job in the calling thread; never raises. Windows are scored one by one, so that a deadline stops early."""
    begun_s = time.monotonic()
    queue_s = begun_s - job.submitted_s
    if job.dead(begun_s):
        return absent(job.member.name, MissingCause.TIMED_OUT, queue_s)
    try:
        return _score_all(job, queue_s, begun_s)
    # A model may raise anything, also a panic of native code, which is no Exception and would end the lane. That it did is
    # all that is reported, since messages may quote text.
    except BaseException:
        stopped = job.run.stopped  # being stopped ends a run with an error too
        cause = MissingCause.TIMED_OUT if stopped else MissingCause.FAILED
        return absent(job.member.name, cause, queue_s, fault=not stopped)


def _score_all(job: Job, queue_s: float, begun_s: float) -> MemberReport:
    reading = job.member.backend.read(job.exchange)
    read_s = time.monotonic() - begun_s
    columns = len(job.member.categories)
    scored: dict[bytes, NDArray[np.float64]] = {}
    places: list[Window] = []
    cause: MissingCause | None = None if reading.windows else MissingCause.INVALID
    for window in reading.windows:
        if job.dead(time.monotonic()) or job.run.stopped:
            cause = MissingCause.TIMED_OUT
            break
        key = window.key
        if key not in scored:
            row = _checked(job.member.backend.score([window], job.run), columns)
            if row is None:
                cause = MissingCause.INVALID
                break
            scored[key] = row
        places.append(window)
    infer_s = time.monotonic() - begun_s - read_s
    scores, worst = _worst(places, scored, job.member.categories)
    coverage = merge([window.span for window in places if window.view == "raw"])
    complete = cause is None and coverage == ((0, job.exchange.completion_bytes),)
    return MemberReport(
        MemberEvidence(job.member.name, scores, cause, complete),
        worst,
        coverage,
        reading.prompt_spans,
        fault=cause is MissingCause.INVALID and bool(reading.windows),
        windows_scored=len(scored),
        tokens_scored=sum(len(key) for key in scored) // 8,
        input_tokens=reading.input_tokens,
        queue_s=queue_s,
        read_s=read_s,
        infer_s=infer_s,
    )


def _checked(rows: NDArray[np.float64], columns: int) -> NDArray[np.float64] | None:
    """The one row of scores, or None when it is not one row of numbers in [0, 1]."""
    if not isinstance(rows, np.ndarray) or rows.shape != (1, columns):
        return None
    row = rows[0]
    return row if all(math.isfinite(x) and 0 <= x <= 1 for x in row) else None


def _worst(
    places: Sequence[Window], scored: dict[bytes, NDArray[np.float64]], categories: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, Span]]:
    """The highest score per category over all windows, and where it was."""
    if not places:
        return {}, {}
    table = np.stack([scored[window.key] for window in places])
    at = table.argmax(axis=0)
    scores = {category: float(table[at[c], c]) for c, category in enumerate(categories)}
    return scores, {category: places[at[c]].span for c, category in enumerate(categories)}


def merge(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The union of half-open ranges, as disjoint ranges in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)
