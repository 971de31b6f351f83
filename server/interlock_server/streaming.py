"""A completion that is screened while it is being written. No byte of it is released before a verdict that covers it.

Parts are judged one after the other; what arrives meanwhile is in the next. A part that is not cleared ends everything,
with two exceptions, in which nothing more is released for a while: an outage is waited out, and a mere doubt may be settled
by what comes next, since a beginning is often less clear than the whole.
"""

import asyncio
import hashlib
import time
import uuid
from dataclasses import dataclass, replace
from enum import Enum

from interlock_server.audit.record import Span, StreamTrace
from interlock_server.decision.verdict import Action, Reason, Verdict
from interlock_server.filter import SafetyFilter
from interlock_server.inference.scoring import KnownRows, MemberReport
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from interlock_server.text.growing import GrowingText, Part

ATTEMPTS_MAX = 3
RPC = "ScreenStream"


class Course(Enum):
    """What follows from the verdict on a part."""

    GO_ON = "go on"
    TRY_AGAIN = "try again"
    OVER = "over"


PASSING = frozenset({Reason.UNCERTAIN, Reason.INPUT_EMPTY})
"""Reasons that more of the text may settle: joint suspicion of members that are all clear, and blanks."""


def took(text: GrowingText, part: Part, verdict: Verdict, attempts: int, doubt_bytes: int) -> Course:
    """Notes a verdict on a part, and says how the stream goes on. The one place where growing text is released."""
    if verdict.released:
        text.clear(part)
        return Course.OVER if part.whole else Course.GO_ON
    if not part.whole and PASSING.issuperset(verdict.reasons):
        return Course.GO_ON if text.doubt(part) <= doubt_bytes else Course.OVER
    return Course.TRY_AGAIN if verdict.retryable and attempts < ATTEMPTS_MAX else Course.OVER


@dataclass(frozen=True)
class Progress:
    """How much may be shown, and the last verdict once there is one."""

    released_bytes: int
    released_sha256: bytes
    screening: Screening | None = None


class GrowingCompletion:
    """One stream. `asked` is the request but for its completion; `idle_s` is how long to wait for more of it.

    Feed it with `add` and `end`, or `break_off`; call `progress` until it brings a screening.
    """

    def __init__(self, safety_filter: SafetyFilter, asked: Request, idle_s: float, metrics: Metrics) -> None:
        policy = safety_filter.policy
        self._filter = safety_filter
        self._asked = asked
        self._idle_s = idle_s
        self._metrics = metrics
        self._text = GrowingText(policy.limits.completion_bytes_max, policy.streaming.hold_back_bytes)
        self._known: KnownRows = {}
        self._id = str(uuid.uuid4())
        self._arrived = asyncio.Event()
        self._broken: Reason | None = asked.refused
        self._attempts = 0

    @property
    def held_bytes(self) -> int:
        """What has come and is not released."""
        return len(self._text) - self._text.released

    @property
    def up_to_date(self) -> bool:
        """Whether all that can be judged by now was judged."""
        return self._text.part() is None

    @property
    def ended(self) -> bool:
        """Whether it is whole."""
        return self._text.ended

    def add(self, chunk: bytes) -> None:
        """More of the completion, cut anywhere; nothing is no more."""
        if chunk:
            self._text.add(chunk)
            self._arrived.set()

    def end(self) -> None:
        """The completion is whole."""
        self._text.end()
        self._arrived.set()

    def break_off(self) -> None:
        """The caller has gone without an end; after an end it means nothing."""
        if not self._text.ended:
            self._broken = self._broken or Reason.INPUT_INCOMPLETE
        self._arrived.set()

    async def progress(self) -> Progress:
        """What is new: more bytes are released, or the last verdict is there."""
        before = self._text.released
        while True:
            screening = await self._step()
            if screening is not None:
                return self._progress(screening)
            if self._text.released > before:
                return self._progress(None)

    async def _step(self) -> Screening | None:
        """Judges what there is, or waits for more; the screening when it is the last one."""
        self._arrived.clear()
        broken = self._why_broken()
        if broken is not None:
            whole = Part(0, len(self._text), whole=True)
            return self._last(await self._refuse(broken, whole), whole)
        part = self._text.part()
        if part is None:
            await self._wait()
            return None
        screening = await self._judge(part)
        if self._why_broken() is not None:  # meanwhile: nothing more is released
            return None
        self._attempts += 1
        match took(self._text, part, screening.verdict, self._attempts, self._filter.policy.streaming.doubt_bytes):
            case Course.GO_ON:
                self._attempts = 0
                return None
            case Course.TRY_AGAIN:
                await asyncio.sleep(screening.verdict.retry_after_ms / 1000)
                return None
            case Course.OVER:
                return self._last(screening, part)

    def _why_broken(self) -> Reason | None:
        if self._text.too_long:
            return Reason.INPUT_TOO_LONG
        return Reason.INPUT_UNREADABLE if self._text.unreadable else self._broken

    async def _wait(self) -> None:
        """Until something comes; when nothing does for too long, the stream is over."""
        left_s = min(self._idle_s, self._asked.deadline_s - time.monotonic())
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                await self._arrived.wait()
        except TimeoutError:
            self._broken = Reason.INPUT_INCOMPLETE

    async def _judge(self, part: Part) -> Screening:
        request = replace(self._asked, completion=self._text.content(part), stream=self._trace(part), known=self._known)
        return await self._filter.screen(request, RPC)

    async def _refuse(self, reason: Reason, whole: Part) -> Screening:
        """The verdict on a text that will not be whole, or cannot be read."""
        request = replace(self._asked, completion=self._text.content(whole), stream=self._trace(whole), refused=reason)
        return await self._filter.screen(request, RPC)

    def _trace(self, part: Part) -> StreamTrace:
        return StreamTrace(
            stream_id=self._id, start=part.start, end=part.end, whole=part.whole, released_bytes=self._text.released
        )

    def _last(self, screening: Screening, part: Part) -> Screening:
        """The verdict as the caller gets it: places are those of the whole text, and what was shown is to be retracted."""
        if not part.whole:
            self._filter.count(replace(self._asked, completion=self._text.content(part)), screening, RPC)
        released = self._text.released
        if screening.verdict.released:
            return screening
        if released:
            self._metrics.stream_retractions.inc()
            self._metrics.stream_retracted_bytes.inc(released)
        action = Action.RETRACT if released else screening.verdict.action
        return replace(
            screening,
            verdict=replace(screening.verdict, action=action, retryable=False, retry_after_ms=0),
            reports=tuple(_shifted(report, part.start) for report in screening.reports),
            completion_sha256=hashlib.sha256(self._text.content(Part(0, part.end))).digest(),
            released_bytes=released,
        )

    def _progress(self, screening: Screening | None) -> Progress:
        return Progress(self._text.released, self._text.released_sha256, screening)


def _shifted(report: MemberReport, by: int) -> MemberReport:
    """A report on a part that begins there, in places of the whole."""

    def moved(span: Span) -> Span:
        return span[0] + by, span[1] + by

    worst = {category: moved(span) for category, span in report.worst_windows.items()}
    return replace(report, worst_windows=worst, coverage=tuple(map(moved, report.coverage)))
