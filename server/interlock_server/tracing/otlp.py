"""Sends spans to a collector, in a thread of its own, from a bounded queue. The only file that loads OpenTelemetry.

Spans that find no room are dropped, and those that the collector does not take are lost. Both are counted; that it takes none,
and that it does again, is logged.
"""

import logging
import threading
import time
from collections import deque
from pathlib import Path

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from interlock_server import __version__
from interlock_server.errors import ConfigError
from interlock_server.log import log_alarm, log_event
from interlock_server.metrics import Metrics
from interlock_server.trace_context import TraceContext
from interlock_server.tracing.settings import TracingSettings
from interlock_server.tracing.spans import Span

KINDS = {"server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_SCOPE = InstrumentationScope("interlock_server", __version__)


def exporter(settings: TracingSettings) -> SpanExporter:
    """The connection to the collector. Raises ConfigError."""
    assert settings.endpoint is not None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # `SpanQueue` says it, and once
    credentials = None
    if not settings.insecure:
        try:
            roots = Path(settings.ca_file).read_bytes() if settings.ca_file else None
        except OSError as error:
            raise ConfigError(f"tracing.ca_file: {error.strerror}") from error
        credentials = grpc.ssl_channel_credentials(roots)
    scheme = "http" if settings.insecure else "https"
    return OTLPSpanExporter(
        endpoint=f"{scheme}://{settings.endpoint}",
        insecure=settings.insecure,
        credentials=credentials,
        timeout=settings.export_timeout_ms / 1000,
        compression=grpc.Compression.Gzip,
    )


class SpanQueue:
    """Takes spans from any thread, and never makes it wait. `exporter` is used by one thread only."""

    def __init__(self, settings: TracingSettings, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._size_max, self._batch_size_max = settings.queue_size_max, settings.batch_size_max
        self._delay_s = settings.batch_delay_ms / 1000
        self._resource = Resource({"service.name": settings.service_name, "service.version": __version__})
        # Clocks are read once: what matters is that the spans of a trace fit each other.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._exported, self._failed, self._dropped = map(metrics.spans.labels, ("exported", "failed", "dropped"))
        self._waiting: deque[Span] = deque()
        self._filled = threading.Event()
        self._closing = False
        self._well = True
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Queues a span, or drops it."""
        if len(self._waiting) >= self._size_max or self._closing:
            self._dropped.inc()
            return
        self._waiting.append(span)
        if len(self._waiting) >= self._batch_size_max:
            self._filled.set()

    def close(self, timeout_s: float) -> None:
        """Sends what waits, for so long; then hangs up."""
        self._closing = True
        self._filled.set()
        self._thread.join(timeout_s)
        self._exporter.shutdown()

    def _work(self) -> None:
        closing = False
        while not closing:
            self._filled.wait(self._delay_s)
            self._filled.clear()
            closing = self._closing  # read before the last look, so that nothing is left behind
            while self._waiting:
                self._send()

    def _send(self) -> None:
        count = min(len(self._waiting), self._batch_size_max)
        batch = [_readable(self._waiting.popleft(), self._epoch_ns, self._resource) for _ in range(count)]
        try:
            well = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # a broken exporter is like a dead collector
            well = False
        (self._exported if well else self._failed).inc(count)
        if well != self._well:
            self._well = well
            (log_event if well else log_alarm)("spans are exported again" if well else "spans cannot be exported")


def _readable(span: Span, epoch_ns: int, resource: Resource) -> ReadableSpan:
    error = {"error.type": span.error} if span.error else {}
    return ReadableSpan(
        span.name,
        context=_context(span.context, remote=False),
        parent=_context(span.context.parent, remote=span.kind == "server") if span.context.parent else None,
        resource=resource,
        attributes={**span.attributes, **error},
        kind=KINDS[span.kind],
        status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
        start_time=epoch_ns + int(span.begun_s * 1e9),
        end_time=epoch_ns + int(span.ended_s * 1e9),
        instrumentation_scope=_SCOPE,
    )


def _context(context: TraceContext, remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), remote, flags)
