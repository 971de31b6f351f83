"""Which screenings and RPCs are traced. Spans are made when all is over, and only of what is kept; nothing here waits."""

import time
from collections.abc import Callable
from typing import Protocol

from interlock_server.screening import Request, Screening
from interlock_server.trace_context import CURRENT, TraceContext, new_trace
from interlock_server.tracing.settings import TracingSettings
from interlock_server.tracing.spans import Attribute, Span, Stage, outage, spans_of

Export = Callable[[Span], None]
"""Takes a span and returns at once."""


class Trace(Protocol):
    """What becomes of one screening."""

    @property
    def context(self) -> TraceContext | None:
        """What is done for it belongs to this."""
        ...

    @property
    def trace_id(self) -> str:
        """Of the lines that are logged about it."""
        ...

    def reached(self, stage: Stage) -> None:
        """Notes the time."""
        ...

    def end(self, request: Request, screening: Screening) -> str:
        """Says what came of it; returns the id of the trace if that is kept."""
        ...


class Tracer(Protocol):
    """Traces screenings."""

    def screening(self, rpc: str) -> Trace:
        """One that begins now."""
        ...


class Untraced:
    """The tracer of those who want no traces, and each of its traces."""

    context = None
    trace_id = ""

    def screening(self, rpc: str) -> "Untraced":
        return self

    def reached(self, stage: Stage) -> None:
        """Nothing."""

    def end(self, request: Request, screening: Screening) -> str:
        """Nothing is kept."""
        return ""


UNTRACED = Untraced()


class SpanTracer:
    """Traces what callers want traced, a share of the rest, and outages. Belongs to one event loop."""

    def __init__(self, settings: TracingSettings, export: Export) -> None:
        self.sample_ratio = settings.sample_ratio
        self.export = export
        self._outages_max = settings.outages_per_second_max
        self._second, self._outages = 0, 0

    def screening(self, rpc: str) -> "ScreeningTrace":
        """Below the RPC that is served in this task, if there is one."""
        return ScreeningTrace(self, rpc)

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """A span below another one, or a trace of its own."""
        return new_trace(self.sample_ratio) if parent is None else parent.child()

    def ended(self, context: TraceContext, method: str, begun_s: float, code: tuple[int, str]) -> None:
        """An RPC is over, with a status. `method` is one of ours."""
        if not context.sampled:
            return
        number, name = code
        service, _, rpc = method.lstrip("/").partition("/")
        said: dict[str, Attribute] = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": rpc,
            "rpc.grpc.status_code": number,
        }
        error = "" if name == "OK" else name
        self.export(Span(f"{service}/{rpc}", context, begun_s, time.monotonic(), said, "server", error))

    def room_for_outage(self) -> bool:
        """Whether one more may be kept now: in an overload there are thousands, and each takes from what is served."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._outages = second, 0
        self._outages += 1
        return self._outages <= self._outages_max


class ScreeningTrace:
    """One screening."""

    def __init__(self, tracer: SpanTracer, rpc: str) -> None:
        self._tracer, self._rpc = tracer, rpc
        self.context = tracer.begin(CURRENT.get())
        self.trace_id = self.context.trace_id
        self._times = {Stage.BEGUN: time.monotonic()}

    def reached(self, stage: Stage) -> None:
        self._times[stage] = time.monotonic()

    def end(self, request: Request, screening: Screening) -> str:
        context = self.context
        if not context.sampled and outage(screening.verdict) and self._tracer.room_for_outage():
            context.keep()
        if not context.sampled:
            return ""
        self.reached(Stage.ENDED)
        for span in spans_of(context, self._times, self._rpc, request, screening):
            self._tracer.export(span)
        return self.trace_id
