"""One generation: a bundle, its policy and certificate, and everything that decides by them and says so."""

import asyncio
from dataclasses import dataclass, field

from interlock.v1 import safety_filter_pb2 as pb

from interlock_server import __version__
from interlock_server.audit.log import AuditLog
from interlock_server.audit.record import Digests
from interlock_server.bundle.load import Bundle
from interlock_server.config import Config
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.inference.cache import EvidenceCache
from interlock_server.loading import certification
from interlock_server.metrics import Metrics
from interlock_server.monitor import Monitor, Versions
from interlock_server.recording import Recorder
from interlock_server.refuting import certificate_digest
from interlock_server.reload.engine import Engine
from interlock_server.reload.opening import Opened
from interlock_server.rollout import Canary, Tally
from interlock_server.tracing.tracer import UNTRACED, Tracer
from interlock_server.transport.serving import Serving
from interlock_server.transport.translate import to_digests, to_ensemble


@dataclass(frozen=True)
class Surroundings:
    """What outlives every generation."""

    metrics: Metrics
    log: AuditLog | None = None
    tracer: Tracer = UNTRACED
    cannot_heal: asyncio.Event = field(default_factory=asyncio.Event)


class Generation:
    """Made by `assemble`; belongs to the event loop. `close` it when nobody uses `serving` any more."""

    def __init__(
        self, opened: Opened, engine: Engine, safety_filter: SafetyFilter, monitor: Monitor | None, metrics: Metrics
    ) -> None:
        self.opened = opened
        self.engine = engine.enter()
        self.filter = safety_filter
        self.monitor = monitor
        self.serving = Serving(safety_filter, _described(opened, safety_filter))
        self._metrics = metrics
        self._watching = asyncio.create_task(monitor.run()) if monitor is not None else None

    def announce(self, before: "Generation | None") -> None:
        """Says in the metrics and the log what is in force from now on, and takes over what the one before knows."""
        if before is not None:
            if before.monitor is not None and self.monitor is not None:
                self.monitor.take_over(before.monitor)
            if before.engine is not self.engine:
                before.engine.panel.retire()
            before._withdraw(self.opened.bundle)
        metrics, policy = self._metrics, self.opened.bundle.policy
        metrics.info.labels(*self._info).set(1)
        metrics.latency_budget_seconds.set(policy.latency_budget_ms / 1000)
        for name in policy.members:
            metrics.member_required.labels(name).set(name in policy.required_members)
        metrics.from_zero(Reason, policy.members, list(MissingCause))
        self.filter.certification.announce(metrics)

    async def close(self) -> bool:
        """True when its models went with it."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        return await self.engine.leave()

    @property
    def named(self) -> dict[str, str]:
        """What it is, for the log."""
        return {"bundle": self.filter.digests.bundle, "policy": self.filter.digests.policy}

    @property
    def _info(self) -> tuple[str, str, str, str]:
        asked = [member for member in self.engine.panel.members if member.name in self.filter.policy.members]
        providers = ",".join(sorted({member.backend.provider for member in asked}))
        return self.filter.digests.bundle, self.filter.digests.policy, __version__, providers

    def _withdraw(self, bundle: Bundle) -> None:
        """Takes back what was said of this one and will not be said again."""
        metrics, before = self._metrics, self.opened.bundle
        metrics.info.forget(*self._info)
        for name in set(before.policy.members) - set(bundle.policy.members):
            metrics.member_required.forget(name)
        for category in set(before.manifest.categories) - set(bundle.manifest.categories):
            metrics.certificate_miss_rate_upper_bound.forget(category)


async def assemble(
    config: Config, opened: Opened, engine: Engine, around: Surroundings, before: Generation | None = None
) -> Generation:
    """Everything around an engine that decides by what was opened; raises ConfigError."""
    bundle, metrics = opened.bundle, around.metrics
    monitor = await monitor_of(config, bundle, metrics)
    recorder = Recorder(around.log, bundle.policy, opened.shadows, digests_of(bundle), metrics)
    safety_filter = SafetyFilter(
        engine.panel,
        bundle.policy,
        config.inference.reply_reserve_ms / 1000,
        metrics,
        cache=_cache(config, bundle, engine, before),
        recorder=recorder,
        gate=engine.gate,
        monitor=monitor,
        certification=certification(bundle, monitor),
        digests=digests_of(bundle),
        canary=_canary(config, opened, metrics, before),
        tracer=around.tracer,
    )
    return Generation(opened, engine, safety_filter, monitor, metrics)


def digests_of(bundle: Bundle) -> Digests:
    """What verdicts and records say about the versions behind them."""
    return Digests(bundle=bundle.digest, policy=bundle.policy.digest, build=__version__)


async def monitor_of(config: Config, bundle: Bundle, metrics: Metrics) -> Monitor | None:
    """What compares traffic with what was attested, if it is to. Raises ConfigError."""
    settings = config.drift
    if not any((settings.baseline, settings.state, settings.refutation)):
        return None
    certificate = certificate_digest(bundle.certificate.to_certificate()) if bundle.certificate else ""
    versions = Versions(bundle.digest, bundle.policy.digest, certificate)
    return await asyncio.to_thread(Monitor, settings, bundle.policy, versions, metrics)


def cache_of(config: Config, bundle: Bundle) -> EvidenceCache | None:
    """Evidence that is kept, if it is to be: of these models, and of no others."""
    settings = config.inference
    if not settings.cache_entries_max:
        return None
    return EvidenceCache(settings.cache_entries_max, settings.cache_across_callers, bundle.models_digest)


def _cache(config: Config, bundle: Bundle, engine: Engine, before: Generation | None) -> EvidenceCache | None:
    """The one before, if the same members of the same models are asked."""
    if before is not None and before.engine is engine and before.filter.policy.members == bundle.policy.members:
        return before.filter.cache
    return cache_of(config, bundle)


def _canary(config: Config, opened: Opened, metrics: Metrics, before: Generation | None) -> Canary | None:
    """The policy on trial. It goes on counting where neither it nor the running policy is another."""
    settings, trial = config.bundle.canary, opened.canary
    if settings is None or trial is None:
        return None
    digests = digests_of(trial)
    known: Tally | None = None
    if before is not None and before.filter.canary is not None:
        policies = before.filter.digests.policy, before.filter.canary.digests.policy
        known = before.filter.canary.tally if policies == (opened.bundle.policy.digest, digests.policy) else None
    return Canary(trial.policy, settings.share, certification(trial), digests, metrics, known)


def _described(opened: Opened, safety_filter: SafetyFilter) -> pb.GetEnsembleResponse:
    asked = [member for member in safety_filter.panel.members if member.name in safety_filter.policy.members]
    ensemble = to_ensemble(opened.bundle, asked, to_digests(safety_filter.digests))
    canary = safety_filter.canary
    if canary is not None:
        ensemble.canary.CopyFrom(pb.Canary(policy=canary.digests.policy, share=canary.share))
    return ensemble
