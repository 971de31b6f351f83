"""SafetyFilter.screen: an exchange becomes views, the panel is asked, `decide` decides. Read this second.

Whatever goes wrong on the way becomes evidence; `decide` is the only place from which a RELEASE can come.
"""

import hashlib
import time
import uuid
from dataclasses import replace
from functools import lru_cache, partial

from interlock_server.assurance.gate import Gate
from interlock_server.audit.record import Digests
from interlock_server.certification import Certification
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MissingCause, not_asked
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason
from interlock_server.inference.cache import EvidenceCache
from interlock_server.inference.gating import look, ood_pvalue
from interlock_server.inference.panel import Answer, Panel, Question, Roles
from interlock_server.inference.scoring import MemberReport, absent
from interlock_server.log import about, log_detail, log_failure
from interlock_server.metrics import Metrics
from interlock_server.monitor import Monitor
from interlock_server.recording import Recorder
from interlock_server.rollout import Canary, Ruling
from interlock_server.screening import UNKNOWN, Request, Screening
from interlock_server.text.exchange import Exchange, decode
from interlock_server.text.scripts import in_known_script
from interlock_server.tracing.spans import Stage
from interlock_server.tracing.tracer import UNTRACED, Trace, Tracer

_REFUSALS_MAX = 256


class SafetyFilter:
    """Screens exchanges under one policy with one panel. `budget_s` replaces the policy's, for offline work."""

    def __init__(
        self,
        panel: Panel,
        policy: Policy,
        reply_reserve_s: float,
        metrics: Metrics,
        budget_s: float | None = None,
        cache: EvidenceCache | None = None,
        recorder: Recorder | None = None,
        gate: Gate | None = None,
        monitor: Monitor | None = None,
        certification: Certification | None = None,
        digests: Digests = UNKNOWN,
        canary: Canary | None = None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self.panel = panel
        self.policy = policy
        self._budget_s = policy.latency_budget_ms / 1000 if budget_s is None else budget_s
        self._reply_reserve_s = reply_reserve_s
        self._metrics = metrics
        self.cache = cache
        self._gate = gate
        self.recorder = recorder
        self._monitor = monitor
        self.certification = certification or Certification(None, "", policy, ())
        self.digests = digests
        self.canary = canary
        self._tracer = tracer
        self._roles = Roles(frozenset(policy.required_members), frozenset(policy.shadow))
        # Under overload most requests are refused, and each refusal takes from those that are served.
        self._refusal = lru_cache(maxsize=_REFUSALS_MAX)(self._decide_unasked)
        self._unasked = tuple(absent(name, MissingCause.NOT_ASKED) for name in policy.members)

    async def screen(self, request: Request, rpc: str = "Screen") -> Screening:
        """One verdict, before the deadline; never raises, except that cancelling it cancels the work."""
        begun_s, verdict_id, trace = time.monotonic(), str(uuid.uuid4()), self._tracer.screening(rpc)
        about(verdict_id=verdict_id, trace_id=trace.trace_id)
        if self._monitor is not None:
            request = self._monitor.tightened(request)
        deadline_s = min(request.deadline_s - self._reply_reserve_s, begun_s + self._budget_s)
        ruling, reports = await self._judge(request, begun_s, deadline_s, trace)
        trace.reached(Stage.DECIDED)
        screening = Screening(
            ruling.verdict,
            ruling.evidence,
            reports or self._unasked,
            hashlib.sha256(request.completion).digest(),
            verdict_id,
            time.monotonic() - begun_s,
            ruling.digests,
            request.observed_only,
            ruling.others,
        )
        if self.recorder is not None:
            try:
                screening = await self.recorder.keep(request, screening, rpc, deadline_s)
            except Exception as error:  # an alarm again, where a record is required
                log_failure("record", error)
                screening = self.recorder.unrecorded(screening)
            screening = replace(screening, total_s=time.monotonic() - begun_s)
        trace_id = trace.end(request, screening)
        if trace_id:
            screening = replace(screening, trace_id=trace_id)
        self._count_members(screening)
        if request.partial:  # a stream is one verdict, not as many as it has sentences
            self._metrics.stream_parts.labels(screening.verdict.decision).inc()
        else:
            self.count(request, screening, rpc)
        return screening

    def count(self, request: Request, screening: Screening, rpc: str) -> None:
        """Counts a verdict that is answered."""
        if self._monitor is not None:
            self._monitor.observe(request, screening)
        verdict, metrics = screening.verdict, self._metrics
        first = verdict.reasons[0] if verdict.reasons else ""
        metrics.verdicts.labels(verdict.decision, first).inc()
        metrics.screen_seconds.labels(rpc, verdict.decision).observe(screening.total_s, screening.trace_id)
        log_detail("verdict", rpc=rpc, decision=verdict.decision, reason=first, total_s=screening.total_s)
        if verdict.margin is not None:
            metrics.margin.observe(verdict.margin)
        if verdict.disagreement is not None:
            metrics.disagreement.observe(verdict.disagreement)
        if screening.evidence.ood_pvalue is not None:
            metrics.ood_pvalue.observe(screening.evidence.ood_pvalue)
        if screening.observed_only and not verdict.released:
            metrics.enforcement_observed.inc()
        for result in verdict.categories:
            if result.reasons:
                metrics.withheld.labels(result.category, result.reasons[0]).inc()
            for member in result.dissenters:
                metrics.dissent.labels(member, result.category).inc()

    async def _judge(
        self, request: Request, begun_s: float, deadline_s: float, trace: Trace
    ) -> tuple[Ruling, tuple[MemberReport, ...]]:
        """The verdict and what it is based on; whatever goes wrong is an alarm in the evidence, and `decide` sees to the rest."""
        try:
            found = await self._gather(request, begun_s, deadline_s, trace)
            trace.reached(Stage.GATHERED)
            if not isinstance(found, Reason):
                evidence, reports = found
                return self._rule(request, evidence), reports
        except Exception as error:
            log_failure("screen", error)
            found = Reason.INTERNAL_ERROR
        certificate = self.certification.state(request.profile)
        return self._refusal(found, request.profile, request.extra_margin, certificate), ()

    def _rule(self, request: Request, evidence: Evidence) -> Ruling:
        """What the policy decides, and the one on trial, if there is one."""
        ruling = Ruling(evidence, decide(evidence, self.policy), self.digests)
        return ruling if self.canary is None else self.canary.weigh(request, ruling)

    async def _gather(
        self, request: Request, begun_s: float, deadline_s: float, trace: Trace
    ) -> tuple[Evidence, tuple[MemberReport, ...]] | Reason:
        """The evidence on an exchange with the members' reports, or the reason why they were not asked."""
        if self.recorder is not None:
            deadline_s -= self.recorder.reserve_s
        refused = request.refused or self._too_long(request)
        if refused is None and not begun_s < deadline_s:  # also when it is not a number
            refused = Reason.DEADLINE
        if refused is not None:
            return refused
        answer = await self._ask(request, deadline_s, trace)
        if answer.refused is not None:
            return answer.refused
        for name in {view.name for view in answer.exchange.views} if answer.exchange else ():
            self._metrics.text_views.labels(name).inc()
        members = tuple(report.evidence for report in answer.reports)
        evidence = Evidence(
            members,
            request.profile,
            request.extra_margin,
            ood_pvalue=answer.ood_pvalue,
            certificate=self.certification.state(request.profile),
            conservative=self._monitor is not None and self._monitor.conservative,
        )
        return evidence, answer.reports

    async def _ask(self, request: Request, deadline_s: float, trace: Trace) -> Answer:
        """What the members say of it, or said when they were last asked."""
        opening = partial(_exchange, request, self._gate)
        question = Question(
            opening, len(request.completion), deadline_s, request.bulk, request.known, self._roles, trace.context
        )
        if self.cache is None or request.partial:
            return self._gated(await self.panel.ask(question))
        key = self.cache.key(request.prompt, request.completion, request.caller)
        kept = self.cache.get(key)
        self._metrics.evidence_cache.labels("miss" if kept is None else "hit").inc()
        if kept is not None:
            trace.reached(Stage.CACHED)
            return kept
        answer = self._gated(await self.panel.ask(question))
        self.cache.put(key, answer)
        return answer

    def _gated(self, answer: Answer) -> Answer:
        """With what the gate makes of it, if there is one."""
        if self._gate is None or answer.exchange is None:
            return answer
        return replace(answer, ood_pvalue=ood_pvalue(self._gate, answer.exchange, answer.reports))

    def _too_long(self, request: Request) -> Reason | None:
        limits = self.policy.limits
        fits = len(request.completion) <= limits.completion_bytes_max and len(request.prompt) <= limits.prompt_bytes_max
        return None if fits else Reason.INPUT_TOO_LONG

    def _decide_unasked(
        self, reason: Reason, profile: str, extra_margin: float, certificate: CertificateState
    ) -> Ruling:
        """The verdict on an exchange that no member was asked about: the same for every text."""
        evidence = replace(not_asked(self.policy.members, reason, profile, extra_margin), certificate=certificate)
        return Ruling(evidence, decide(evidence, self.policy), self.digests)

    def _count_members(self, screening: Screening) -> None:
        metrics = self._metrics
        for item in screening.evidence.members:
            if item.missing is not None:
                metrics.missing.labels(item.member, item.missing).inc()
            for category, score in item.scores.items():
                metrics.member_score.labels(item.member, category).observe(score)
        for report in screening.reports:
            if report.input_tokens and report.evidence.missing is None:
                ratio = metrics.tokens_scored_per_input_token.labels(report.evidence.member)
                ratio.observe(report.tokens_scored / report.input_tokens)


def _exchange(request: Request, gate: Gate | None) -> Exchange | Reason:
    """The exchange, decoded and with its views made, which takes a while; or why it cannot be judged."""
    prompt, completion = decode(request.prompt), decode(request.completion)
    if prompt is None or completion is None:
        return Reason.INPUT_UNREADABLE
    exchange = Exchange(prompt, completion)
    views = exchange.views  # made here, once, and not in every lane
    if exchange.unreadable:
        return Reason.INPUT_UNREADABLE
    if not exchange.canonical.text.strip():
        return Reason.INPUT_EMPTY
    if not all(in_known_script(view.text) for view in (exchange.canonical, *views[2:])):
        return Reason.OUT_OF_DISTRIBUTION
    if gate is not None:
        look(gate, exchange)
    return exchange
