"""Kept texts to a server, at the pace at which they came or as fast as allowed. What the way there loses is no verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter, Verdict
from interlock_client.settings import Priority
from interlock_server.audit.reader import TextGone, Texts
from interlock_server.audit.record import Decided, VerdictRecord
from interlock_server.decision.verdict import Action, Decision, Reason
from interlock_server.transport.translate import REASONS

from interlock_lab.replay.bulk import Answer
from interlock_lab.replay.redecide import DETAIL_NOT_GRANTED, NOT_ANSWERED, Plan
from interlock_lab.replay.rescore import not_of_the_text, text_gone
from interlock_lab.replay.tally import At, Unjudged

CONCURRENCY = 64
TIMEOUT_S = 10.0
BUSY = (Reason.OVERLOADED, Reason.DEADLINE)
"""What a server says of its load, and not of the text."""
_REASON_OF = {number: reason for reason, number in REASONS.items()}


class Target:
    """Asks a server. `speed` is a multiple of the recorded pace; None: as fast as allowed."""

    concurrency = CONCURRENCY

    def __init__(self, client: AsyncSafetyFilter, plan: Plan, texts: Sequence[Texts], speed: float | None) -> None:
        self._client = client
        self._plan = plan
        self._texts = texts
        self._speed = speed
        self._begun: dict[int, tuple[float, int]] = {}
        """Log -> when its first record was asked, and when it had been recorded."""

    async def due(self, at: At, record: VerdictRecord) -> None:
        """As long after the first one of its log as it was, in proportion to the speed."""
        if self._speed is None:
            return
        begun_s, first_ns = self._begun.setdefault(at.log, (time.monotonic(), record.time_unix_ns))
        due_s = begun_s + (record.time_unix_ns - first_ns) / 1e9 / self._speed
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def ask(self, at: At, record: VerdictRecord) -> Answer:
        """The server's verdict on the text."""
        elsewhere = not_of_the_text(record)
        if elsewhere is not None:
            return Answer(elsewhere)
        found = self._texts[at.log].of(at.segment, record)
        if isinstance(found, TextGone):
            return Answer(text_gone(found, record))
        prompt, completion = found
        verdict = await self._client.screen(
            prompt=prompt,
            completion=completion,
            profile=self._plan.profile or record.evidence.profile,
            extra_margin=record.evidence.extra_margin,
        )
        return answered(verdict, record.verdict_id, by_category=self._plan.wanted.category is not None)


@asynccontextmanager
async def connected(target: str, plan: Plan, texts: Sequence[Texts], speed: float | None) -> AsyncIterator[Target]:
    """A connection for as long as it is needed. As fast as allowed means after those who wait for their verdicts."""
    priority: Priority = "bulk" if speed is None else "interactive"
    async with AsyncSafetyFilter(targets=target, timeout_s=TIMEOUT_S, priority=priority, detail="full") as client:
        yield Target(client, plan, texts, speed)


def answered(verdict: Verdict, verdict_id: str, by_category: bool = False) -> Answer:
    """A server's verdict as a record holds it, or why it is none."""
    first, message = verdict.reasons[0] if verdict.reasons else "", verdict.proto
    if verdict.local or message is None or (first in BUSY and not verdict.released):
        return Answer(Unjudged(NOT_ANSWERED, verdict_id, first))
    full = bool(message.categories)  # in full every verdict tells of each category
    if not verdict.released and (not first or (by_category and not full)):
        return Answer(Unjudged(DETAIL_NOT_GRANTED, verdict_id, first))
    try:
        return Answer(_decided(verdict, message), full=full)
    except (ValueError, KeyError):  # a newer server gives reasons that we do not know
        return Answer(Unjudged(NOT_ANSWERED, verdict_id, "NOT_UNDERSTOOD"))


def _decided(verdict: Verdict, message: pb.Verdict) -> Decided:
    return Decided(
        decision=Decision.RELEASE if verdict.released else Decision.WITHHOLD,
        reasons=tuple(map(Reason, verdict.reasons)),
        action=Action(verdict.action or Action.NONE),
        margin=verdict.margin,
        disagreement=verdict.disagreement,
        categories={
            result.category: tuple(_REASON_OF[number] for number in result.reasons)
            for result in message.categories
            if result.reasons
        },
    )
