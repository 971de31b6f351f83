"""Starts tracing as configured, and ends it with the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.tracing.settings import TracingSettings
from interlock_server.tracing.tracer import SpanTracer

_LAST_SPANS_S = 2.0


@asynccontextmanager
async def running_tracer(settings: TracingSettings, metrics: Metrics) -> AsyncIterator[SpanTracer | None]:
    """What traces requests, or None where nothing is to be traced. Raises ConfigError."""
    if settings.endpoint is None:
        yield None
        return
    try:
        from interlock_server.tracing.otlp import SpanQueue, exporter
    except ImportError as error:
        raise ConfigError(f"tracing.endpoint: install interlock[tracing]; {error.name} is missing") from error
    queue = SpanQueue(settings, exporter(settings), metrics)
    try:
        yield SpanTracer(settings, queue.put)
    finally:
        await asyncio.to_thread(queue.close, _LAST_SPANS_S)
