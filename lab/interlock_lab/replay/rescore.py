"""Kept texts through the models of a bundle: new evidence, the policy's verdict on it, and how far the scores are apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from interlock_server.app import running_filter
from interlock_server.audit.reader import TextGone, Texts
from interlock_server.audit.record import VerdictRecord, decided
from interlock_server.bundle.load import Bundle
from interlock_server.config import BundleSettings, Config
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.screening import Request

from interlock_lab.replay.bulk import Answer
from interlock_lab.replay.redecide import NOT_OF_THE_TEXT, PROFILE_UNKNOWN, Plan
from interlock_lab.replay.tally import At, Unjudged
from interlock_lab.scores import PATIENT_S

SCORED_ANEW = frozenset(
    {
        Reason.OVERLOADED,
        Reason.DEADLINE,
        Reason.INTERNAL_ERROR,
        Reason.INPUT_EMPTY,
        Reason.OUT_OF_DISTRIBUTION,
    }
)
"""Alarms that the filter raises again on the kept text, where there is cause. Of what was too long or unreadable, of streams
and of calls with two contexts, only what could be read is kept: that is another text."""


class Rescorer:
    """Screens texts with the models of a bundle, and decides by the plan's policy."""

    def __init__(
        self, bundle: Bundle, plan: Plan, texts: Sequence[Texts], safety_filter: SafetyFilter, lanes: int
    ) -> None:
        self.concurrency = 2 * lanes
        self._bundle = bundle
        self._plan = plan
        self._texts = texts
        self._filter = safety_filter
        self._tolerances = {member.name: member.golden_tolerance for member in bundle.manifest.members}

    async def due(self, at: At, record: VerdictRecord) -> None:
        """At once."""

    async def ask(self, at: At, record: VerdictRecord) -> Answer:
        """The verdict on the text, scored again."""
        elsewhere = not_of_the_text(record)
        if elsewhere is not None:
            return Answer(elsewhere)
        found = self._texts[at.log].of(at.segment, record)
        if isinstance(found, TextGone):
            return Answer(text_gone(found, record))
        policy = self._plan.policy
        profile = self._plan.profile or record.evidence.profile
        if profile and profile not in policy.profiles:
            return Answer(Unjudged(PROFILE_UNKNOWN, record.verdict_id, profile))
        screening = await self._filter.screen(Request(*found))
        evidence = as_recorded(screening.evidence, record.evidence, profile)
        gaps = score_gaps(record.evidence, evidence)
        beyond = None
        if gaps and record.digests.bundle == self._bundle.digest:
            beyond = tuple(f"scores of {m}" for m, gap in gaps.items() if max(gap) > self._tolerances[m])
        return Answer(decided(decide(evidence, policy)), gaps, beyond)


@asynccontextmanager
async def rescorer(bundle: Bundle, policy: Path | None, plan: Plan, texts: Sequence[Texts]) -> AsyncIterator[Rescorer]:
    """One whose models are loaded, checked and warm."""
    settings = BundleSettings(path=str(bundle.path), digest=bundle.digest, policy=str(policy) if policy else None)
    config = Config(bundle=settings)
    async with running_filter(config, bundle, Metrics(), budget_s=PATIENT_S) as safety_filter:
        yield Rescorer(bundle, plan, texts, safety_filter, config.inference.lanes)


def not_of_the_text(record: VerdictRecord) -> Unjudged | None:
    """Why a verdict cannot be had from the kept text, if it cannot. Any alarm of a stream may mean that more was to come."""
    alarms = record.evidence.alarms
    standing = [alarm for alarm in alarms if record.stream is not None or alarm not in SCORED_ANEW]
    return Unjudged(NOT_OF_THE_TEXT, record.verdict_id, standing[0]) if standing else None


def text_gone(cause: TextGone, record: VerdictRecord) -> Unjudged:
    """The text of a verdict cannot be had."""
    return Unjudged(f"TEXT_{cause}", record.verdict_id)


def as_recorded(scored: Evidence, recorded: Evidence, profile: str) -> Evidence:
    """New scores and alarms under everything else that held at the time."""
    return replace(
        scored,
        profile=profile,
        extra_margin=recorded.extra_margin,
        certificate=recorded.certificate,
        conservative=recorded.conservative,
    )


def score_gaps(before: Evidence, after: Evidence) -> dict[str, list[float]]:
    """Member -> differences of its scores, where it gave complete evidence both times."""
    complete = {item.member: item.scores for item in before.members if item.missing is None}
    gaps = {
        item.member: [
            abs(score - complete[item.member][c]) for c, score in item.scores.items() if c in complete[item.member]
        ]
        for item in after.members
        if item.missing is None and item.member in complete
    }
    return {member: found for member, found in gaps.items() if found}
