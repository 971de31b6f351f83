"""The caller's trace goes on at the server. OpenTelemetry is not imported here: who has a span has loaded it."""

import sys
from typing import Any

Pairs = tuple[tuple[str, str | bytes], ...]
HEADER = "traceparent"
_API = "opentelemetry.trace"


def with_current_trace(pairs: Pairs) -> Pairs:
    """The pairs of a call and the caller's current span, unless they name one themselves. Never raises."""
    if _API not in sys.modules or any(key == HEADER for key, _ in pairs):
        return pairs
    try:
        span = sys.modules[_API].get_current_span().get_span_context()
        return (*pairs, (HEADER, _traceparent(span))) if span.is_valid else pairs
    except Exception:  # a trace is not worth a verdict
        return pairs


def shareable(pairs: Pairs) -> Pairs | None:
    """The pairs as far as calls of others may have the same; None when the call has to be told from them.

    The span of a trace that nobody keeps is no reason for that.
    """
    kept = tuple(pair for pair in pairs if not _unsampled(*pair))
    return None if any(key in (HEADER, "x-request-id") for key, _ in kept) else kept


def _traceparent(span: Any) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags) & 1:02x}"


def _unsampled(key: str, value: str | bytes) -> bool:
    return key == HEADER and isinstance(value, str) and value.endswith("-00")
