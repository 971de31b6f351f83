"""What becomes of a verdict: it is compared with those of shadow policies, and recorded.

In `required` mode nothing is released that is not on disk: a verdict whose record is late or lost gets an alarm, and
`decide` is asked again.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

from interlock_server.audit.log import AuditLog, Entry
from interlock_server.audit.record import Digests, FeedbackRecord, MemberTrace, TextTrace, VerdictRecord, decided
from interlock_server.decision.decide import decide
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason, Verdict
from interlock_server.inference.scoring import MemberReport
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening


class Recorder:
    """Compares and keeps the verdicts of one policy. `shadows` are policies that are asked too, and never enforced."""

    def __init__(
        self, log: AuditLog | None, policy: Policy, shadows: Mapping[str, Policy], digests: Digests, metrics: Metrics
    ) -> None:
        self._log = log
        self._policy = policy
        self._shadows = dict(shadows)
        self._digests = digests
        self._metrics = metrics
        self.reserve_s = log.reserve_s if log is not None else 0.0
        """How much of a request's time is to be left for `keep`."""

    async def keep(self, request: Request, screening: Screening, rpc: str, deadline_s: float) -> Screening:
        """The screening as it may be answered: the same, unless it had to be recorded first and was not."""
        # An alarm withholds under every policy.
        others = {} if screening.evidence.alarms else self._shadows
        shadows = {name: decide(screening.evidence, policy) for name, policy in others.items()}
        for name, verdict in shadows.items():
            if verdict.decision != screening.verdict.decision and not request.partial:
                self._metrics.shadow_flips.labels(name, screening.verdict.decision, verdict.decision).inc()
        if self._log is None:
            return screening
        entry = self._entry(request, screening, rpc, {**screening.others, **shadows})
        kept = await self._log.write(entry, deadline_s)
        if kept or not self._log.required:
            return screening
        unrecorded = self.unrecorded(screening)
        if screening.verdict.released:
            # Should the record of the release get to the disk after all, what was answered stands behind it.
            await self._log.write(self._entry(request, unrecorded, rpc, {}), 0.0)
        return unrecorded

    @property
    def recording(self) -> bool:
        """Whether there is a log."""
        return self._log is not None

    async def report(self, feedback: FeedbackRecord, deadline_s: float) -> bool:
        """Keeps what a person found of an earlier verdict; False when it is not kept."""
        return self._log is not None and await self._log.write(
            Entry(lambda _: feedback, feedback.verdict_id), deadline_s, awaited=True
        )

    def unrecorded(self, screening: Screening) -> Screening:
        """The screening of a text whose record is not on disk, which is no release where it has to be."""
        if self._log is None or not self._log.required:
            return screening
        evidence = replace(screening.evidence, alarms=(*screening.evidence.alarms, Reason.AUDIT_FAILED))
        verdict = decide(evidence, self._policy)
        return replace(screening, evidence=evidence, verdict=verdict, digests=self._digests, others={})

    def _entry(self, request: Request, screening: Screening, rpc: str, shadows: Mapping[str, Verdict]) -> Entry:
        now_ns = time.time_ns()

        def record(text: TextTrace) -> VerdictRecord:  # in the thread of the log
            return VerdictRecord(
                verdict_id=screening.verdict_id,
                time_unix_ns=now_ns,
                rpc=rpc,
                caller=request.caller,
                request_id=request.request_id,
                evidence=screening.evidence,
                decided=decided(screening.verdict),
                digests=screening.digests,
                text=text,
                members=tuple(map(_trace, screening.reports)),
                total_s=screening.total_s,
                observed_only=request.observed_only,
                stream=request.stream,
                shadows={name: decided(verdict) for name, verdict in shadows.items()},
            )

        verdict = screening.verdict
        label = "RELEASE" if verdict.released else str(verdict.reasons[0])
        return Entry(record, screening.verdict_id, request.prompt, request.completion, label)


def _trace(report: MemberReport) -> MemberTrace:
    return MemberTrace(
        member=report.evidence.member,
        coverage=report.coverage,
        prompt_coverage=report.prompt_coverage,
        worst_windows=report.worst_windows,
        windows=report.windows_scored,
        queue_s=report.queue_s,
        read_s=report.read_s,
        infer_s=report.infer_s,
    )
