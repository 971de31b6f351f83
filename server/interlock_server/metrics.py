"""Every metric, declared once, as objects on a registry of their own. No judged text and nothing a caller wrote is a label."""

import math
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

# Dense where verdicts live, from half a millisecond to the longest budget.
SECONDS = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.35,
    0.5,
    0.75,
    1,
    1.5,
    2,
    2.5,
    5,
    10,
)
NATS = (-10, -5, -2, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10)
TOKENS_PER_TOKEN = (1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6, 10, 25)
SCORES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999, 1)
PVALUES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
BATCH_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

_Metric = TypeVar("_Metric", Counter, Gauge)


class Labelled(Generic[_Metric]):
    """A metric with labels, whose children are looked up once: prometheus_client takes longer for that than to count."""

    def __init__(self, metric: _Metric) -> None:
        self._metric: _Metric = metric
        self._children: dict[tuple[str, ...], _Metric] = {}

    def labels(self, *values: str) -> _Metric:
        """The child with these values. There are as many as there are members, categories and reasons: few."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values) if values else self._metric
        return child

    def forget(self, *values: str) -> None:
        """Ends the child with these values: what it tells of is not there any more."""
        if self._children.pop(values, None) is not None:
            self._metric.remove(*values)


class Buckets:
    """One histogram: counts of observations by the first bound that is not below them, and their sum."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """The last traced observation in a bucket."""

    def observe(self, value: float, trace_id: str = "") -> None:
        """Counts it. For the event loop's thread only; a scrape in another one may miss what is being counted."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.total += value
        if trace_id:
            self.exemplars[place] = Exemplar({"trace_id": trace_id}, value, time.time())


class Histogram(Collector):
    """A histogram that takes a third of a microsecond for what prometheus_client's takes three: there are thirty observations
    to a verdict, and while they are made no lane can get on.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._bounds = bounds
        self._les = [*map(floatToGoString, bounds), "+Inf"]
        self._children: dict[tuple[str, ...], Buckets] = {}

    def labels(self, *values: str) -> Buckets:
        """The child with these values."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = Buckets(self._bounds)
        return child

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As Prometheus wants it: how many are no more than each bound."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, child in list(self._children.items()):
            counts = [float(count) for count in accumulate(list(child.counts))]
            buckets = [
                (le, count, exemplar) if (exemplar := child.exemplars.get(place)) else (le, count)
                for place, (le, count) in enumerate(zip(self._les, counts, strict=True))
            ]
            family.add_metric(list(values), buckets, child.total)
            if self._bounds[0] < 0:  # a sum of values that may be negative is no counter, and the library drops both
                family.add_sample(f"{self._name}_count", dict(zip(self._labels, values, strict=True)), counts[-1])
        yield family


class MemberInstruments:
    """Those of one member, looked up once: label look-ups on the hot path cost more than the observations."""

    def __init__(self, metrics: "Metrics", member: str) -> None:
        phases = (metrics.member_seconds.labels(member, phase) for phase in ("queue", "tokenize", "infer"))
        self._queue, self._tokenize, self._infer = phases
        self._batch_size = metrics.batch_size.labels(member)
        self._batch_tokens = metrics.batch_tokens.labels(member)
        self._base = metrics.run_cost_base_seconds.labels(member)
        self._slope = metrics.run_cost_seconds_per_token.labels(member)
        self.breaker = metrics.breaker_state.labels(member)

    def timed(self, queue_s: float, read_s: float, infer_s: float) -> None:
        """One exchange."""
        self._queue.observe(queue_s)
        self._tokenize.observe(read_s)
        self._infer.observe(infer_s)

    def ran(self, windows: int, tokens: int) -> None:
        """One call of the model."""
        self._batch_size.observe(windows)
        self._batch_tokens.observe(tokens)

    def costs(self, base_s: float, slope_s: float) -> None:
        """What the engine expects of calls."""
        self._base.set(base_s)
        self._slope.set(slope_s)


class AuditInstruments:
    """Those of the audit log; called from its thread and from the event loop's."""

    def __init__(self, metrics: "Metrics") -> None:
        self._written, self._failed, self._dropped = map(metrics.audit_records.labels, ("written", "failed", "dropped"))
        self._seconds = metrics.audit_commit_seconds
        self._queue = metrics.audit_queue
        self._healthy = metrics.audit_healthy
        self.healthy(True)

    def written(self, records: int, took_s: float) -> None:
        """A group of records is in the log."""
        self._written.inc(records)
        self._seconds.observe(took_s)

    def failed(self, records: int) -> None:
        """A group of records could not be written."""
        self._failed.inc(records)

    def dropped(self) -> None:
        """A record was not taken, because too many waited."""
        self._dropped.inc()

    def healthy(self, holds: bool) -> None:
        """Whether records can be written."""
        self._healthy.set(holds)

    def queued(self, records: int) -> None:
        """How many records wait."""
        self._queue.set(records)


class Metrics:
    """The instruments of one server; histograms are in seconds and nats."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._declare_verdicts()
        self._declare_streams_and_log()
        self._declare_engine()
        self._declare_trust()
        self._declare_rollout()
        self._declare_edge()

    def of_member(self, member: str) -> MemberInstruments:
        """The instruments of one member."""
        return MemberInstruments(self, member)

    def of_audit(self) -> AuditInstruments:
        """The instruments of the audit log."""
        return AuditInstruments(self)

    def from_zero(self, reasons: Iterable[str], members: Iterable[str], causes: Collection[str]) -> None:
        """Has what alerts watch counted from 0 on: a rate does not see the value that a counter appears with."""
        self.verdicts.labels("RELEASE", "")
        for reason in reasons:
            self.verdicts.labels("WITHHOLD", reason)
        for decision in ("RELEASE", "WITHHOLD"):
            self.stream_parts.labels(decision)
        for member in members:
            for cause in causes:
                self.missing.labels(member, cause)

    def _declare_verdicts(self) -> None:
        """What is decided, and on what evidence."""
        self.verdicts = self._counter(
            "interlock_verdicts", "Verdicts by decision and first reason.", "decision", "reason"
        )
        self.withheld = self._counter(
            "interlock_withheld", "Withheld verdicts by category and reason.", "category", "reason"
        )
        self.dissent = self._counter(
            "interlock_dissent", "A member was not clear while another was.", "member", "category"
        )
        self.missing = self._counter("interlock_missing", "Members without complete evidence.", "member", "cause")
        self.screen_seconds = self._histogram(
            "interlock_screen_seconds", "Time to a verdict.", SECONDS, "rpc", "decision"
        )
        self.margin = self._histogram("interlock_margin", "Margins of verdicts, in nats.", NATS).labels()
        self.ood_pvalue = self._histogram(
            "interlock_ood_pvalue", "How ordinary texts are, as p-values of the gate for the unknown.", PVALUES
        ).labels()
        self.disagreement = self._histogram("interlock_disagreement", "Spread of the members, in nats.", NATS).labels()
        self.member_score = self._histogram(
            "interlock_member_score", "Scores of members.", SCORES, "member", "category"
        )
        self.tokens_scored_per_input_token = self._histogram(
            "interlock_tokens_scored_per_input_token",
            "Tokens that a member scored, with prompts, overlaps and further views, for each token of the text.",
            TOKENS_PER_TOKEN,
            "member",
        )
        self.text_views = self._counter("interlock_text_views", "Completions in which there was such a view.", "view")
        self.enforcement_observed = self._counter(
            "interlock_enforcement_observed", "Withheld verdicts that callers ignore."
        ).labels()

    def _declare_streams_and_log(self) -> None:
        """What becomes of verdicts."""
        self.shadow_flips = self._counter(
            "interlock_shadow_flips", "What shadow policies would have said, by what was said.", "policy", "from", "to"
        )
        self.stream_parts = self._counter("interlock_stream_parts", "Verdicts on parts of growing texts.", "decision")
        self.stream_retractions = self._counter(
            "interlock_stream_retractions", "Streams that were withheld after bytes of them had been released."
        ).labels()
        self.stream_retracted_bytes = self._counter(
            "interlock_stream_retracted_bytes", "Bytes that were released of streams which were withheld in the end."
        ).labels()
        self.streams_active = self._gauge("interlock_streams_active", "Completions that are being written.").labels()
        self.stream_held_bytes = self._gauge(
            "interlock_stream_held_bytes", "Bytes of growing completions that are not released."
        ).labels()
        self.audit_records = self._counter("interlock_audit_records", "Records by what became of them.", "result")
        self.audit_commit_seconds = self._histogram(
            "interlock_audit_commit_seconds", "Time to write a group of records.", SECONDS
        ).labels()
        self.audit_queue = self._gauge("interlock_audit_queue", "Records that wait to be written.").labels()
        self.audit_healthy = self._gauge(
            "interlock_audit_healthy", "0 while records cannot be written; NaN without a log."
        ).labels()
        self.audit_healthy.set(math.nan)

    def _declare_engine(self) -> None:
        """What waits and runs."""
        self.member_seconds = self._histogram(
            "interlock_member_seconds", "Time of a member.", SECONDS, "member", "phase"
        )
        self.batch_size = self._histogram(
            "interlock_batch_size", "Windows in a call of a model.", BATCH_SIZES, "member"
        )
        self.batch_tokens = self._histogram(
            "interlock_batch_tokens", "Tokens in a call of a model, with padding.", BATCH_TOKENS, "member"
        )
        self.run_cost_base_seconds = self._gauge(
            "interlock_run_cost_base_seconds", "Learned: what a call of a model takes at least.", "member"
        )
        self.run_cost_seconds_per_token = self._gauge(
            "interlock_run_cost_seconds_per_token", "Learned: what each token of a call adds.", "member"
        )
        self.queue_depth = self._gauge("interlock_queue_depth", "Jobs that wait for a lane.", "lane")
        self.lanes_lost = self._gauge("interlock_lanes_lost", "Threads that a hung model still holds.").labels()
        self.in_flight = self._gauge("interlock_requests_in_flight", "Requests being answered.").labels()
        self.evidence_cache = self._counter("interlock_evidence_cache", "Exchanges looked up in the cache.", "result")
        self.admission_refused = self._counter("interlock_admission_refused", "Refusals before any work.", "why")
        self.breaker_state = self._gauge("interlock_breaker_state", "0 closed, 1 half open, 2 open.", "member")
        self.member_required = self._gauge(
            "interlock_member_required", "1 if nothing is released without this member, 0 if it only watches.", "member"
        )
        self.latency_budget_seconds = self._gauge(
            "interlock_latency_budget_seconds", "What the policy gives a verdict at most."
        ).labels()

    def _declare_trust(self) -> None:
        """What may be claimed of it all."""
        self.certificate_valid = self._gauge(
            "interlock_certificate_valid", "1 while the policy's certificate holds."
        ).labels()
        self.certificate_age_seconds = self._gauge(
            "interlock_certificate_age_seconds", "Since it was issued; NaN without one."
        ).labels()
        self.certificate_expires_timestamp_seconds = self._gauge(
            "interlock_certificate_expires_timestamp_seconds", "When it lapses, in Unix time; NaN without one."
        ).labels()
        self.certificate_miss_rate_upper_bound = self._gauge(
            "interlock_certificate_miss_rate_upper_bound",
            "Of the default profile, at most this share of harmful texts is released; 1 where nothing is certified.",
            "category",
        )
        self.certificate_refuted = self._gauge(
            "interlock_certificate_refuted", "1 when labelled traffic has refuted it."
        ).labels()
        self.drift_armed = self._gauge("interlock_drift_armed", "1 while traffic is compared with a baseline.").labels()
        self.drift_items = self._counter("interlock_drift_items", "Answers by whether they were compared.", "result")
        self.drift_distance_lower_bound = self._gauge(
            "interlock_drift_distance_lower_bound", "How far traffic is from the baseline at least.", "statistic"
        )
        self.conservative_mode = self._gauge("interlock_conservative_mode", "1 while latched.").labels()

    def _declare_rollout(self) -> None:
        """What is in force, and how it came to be. A server that runs has loaded its configuration once."""
        self.info = self._gauge("interlock_info", "What is running.", "bundle", "policy", "build", "provider")
        self.config_last_reload_successful = self._gauge(
            "interlock_config_last_reload_successful", "0 while what was to be loaded last could not be."
        ).labels()
        self.config_last_reload_successful.set(1)
        self.config_last_reload_timestamp_seconds = self._gauge(
            "interlock_config_last_reload_timestamp_seconds", "When what is in force was loaded, in Unix time."
        ).labels()
        self.config_last_reload_timestamp_seconds.set_to_current_time()
        self.rollout_decisions = self._counter(
            "interlock_rollout_decisions", "What became of verdicts while a policy was tried.", "policy", "result"
        )

    def _declare_edge(self) -> None:
        """The RPCs."""
        self.rpc_started = self._counter(
            "grpc_server_started", "RPCs begun.", "grpc_type", "grpc_service", "grpc_method"
        )
        self.watched_file_healthy = self._gauge(
            "interlock_watched_file_healthy", "0 while a changed file was refused, and the one before it stays.", "file"
        )
        self.tls_certificate_expires = self._gauge(
            "interlock_tls_certificate_expires_timestamp_seconds",
            "When the server's certificate ends; NaN without TLS.",
        )
        self.tls_certificate_expires.labels().set(math.nan)
        rpc_labels = ("grpc_type", "grpc_service", "grpc_method")
        self.rpc_handled = self._counter("grpc_server_handled", "RPCs ended.", *rpc_labels, "grpc_code")
        self.spans = self._counter("interlock_spans", "Spans by what became of them.", "result")
        self.rpc_seconds = self._histogram("grpc_server_handling_seconds", "Time of RPCs.", SECONDS, *rpc_labels)

    def _counter(self, name: str, text: str, *labels: str) -> Labelled[Counter]:
        return Labelled(Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, *labels: str) -> Labelled[Gauge]:
        return Labelled(Gauge(name, text, labels, registry=self.registry))

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        made = Histogram(name, text, labels, bounds)
        self.registry.register(made)
        return made
