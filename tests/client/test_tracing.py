"""Traces: a caller's span goes on at the server, if he has one, and costs no verdict."""

from collections.abc import Iterator
from typing import Any

import pytest
from interlock_client import AsyncSafetyFilter
from interlock_client.tracing import shareable, with_current_trace
from opentelemetry import context, trace

from . import fake_service
from .conftest import Connect, Serve

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
HEADER = f"00-{TRACE:032x}-{SPAN:016x}"
TEAM = ("x-team", "a")


def current(flags: int = 1, span: Any = None) -> object:
    """Makes a span the current one; returns what ends that."""
    span = span or trace.NonRecordingSpan(trace.SpanContext(TRACE, SPAN, False, trace.TraceFlags(flags)))
    return context.attach(trace.set_span_in_context(span))


@pytest.fixture
def traced() -> Iterator[None]:
    """The caller has a span."""
    token = current()
    yield
    context.detach(token)  # type: ignore[arg-type]


class BrokenSpan(trace.NonRecordingSpan):
    """Cannot say what it is."""

    def get_span_context(self) -> trace.SpanContext:
        raise RuntimeError


async def test_the_current_span_goes_along(serve: Serve, connect: Connect, traced: None) -> None:
    """Beside what else is sent."""
    service = serve(fake_service.release)
    verdict = await connect(service.target, metadata=[TEAM]).screen(completion="x")

    assert verdict.released
    assert (f"{HEADER}-01", "a") == tuple(service.calls[0].metadata[key] for key in ("traceparent", "x-team"))


async def test_without_a_span_nothing_goes_along(serve: Serve, connect: Connect) -> None:
    """OpenTelemetry is loaded here, but nothing is traced."""
    service = serve(fake_service.release)
    await connect(service.target).screen(completion="x")

    assert "traceparent" not in service.calls[0].metadata


def test_a_span_that_the_caller_names_counts(traced: None) -> None:
    """He knows better."""
    named = (("traceparent", "his own"),)

    assert named == with_current_trace(named)


def test_a_broken_span_costs_nothing() -> None:
    """But the trace."""
    token = current(span=BrokenSpan(trace.INVALID_SPAN_CONTEXT))
    try:
        assert (TEAM,) == with_current_trace((TEAM,))
    finally:
        context.detach(token)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pairs", "shared"),
    [
        ((TEAM,), (TEAM,)),
        ((TEAM, ("traceparent", f"{HEADER}-00")), (TEAM,)),
        ((TEAM, ("traceparent", f"{HEADER}-01")), None),
        ((TEAM, ("x-request-id", "r")), None),
    ],
)
def test_what_calls_on_one_stream_have_in_common(pairs: Any, shared: Any) -> None:
    """A span that is kept belongs to one call."""
    assert shared == shareable(pairs)


async def test_a_traced_call_goes_by_itself(serve: Serve, traced: None) -> None:
    """And leaves no stream behind that is marked with its trace."""
    service = serve(fake_service.release)
    async with AsyncSafetyFilter(targets=service.target, multiplexed=True) as client:
        verdict = await client.screen(completion="x")

    assert verdict.released
    assert [("ScreenBatch", f"{HEADER}-01")] == [(call.method, call.metadata["traceparent"]) for call in service.calls]
