"""Trace context: what the standard allows is understood, what it does not is as if it were not there."""

import asyncio

import pytest
from interlock_server.trace_context import CURRENT, TraceContext, incoming, new_trace, outgoing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BINARY = b"\0\0" + bytes.fromhex(TRACE) + b"\1" + bytes.fromhex(SPAN) + b"\2\1"


def seen(*metadata: tuple[str, str | bytes]) -> tuple[str, str, bool] | None:
    """What is made of metadata."""
    context = incoming(metadata)
    return context and (context.trace_id, context.span_id, context.sampled)


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what the future may bring", True),
    ],
)
def test_a_callers_span_is_understood(value: str, sampled: bool):
    """Its ids, and whether the trace is kept."""
    assert (TRACE, SPAN, sampled) == seen(("x-request-id", "r"), ("traceparent", value))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}é-{SPAN}-01",
        b"00",
    ],
)
def test_what_is_no_traceparent_is_none(value: str | bytes):
    """No part of it is believed."""
    assert seen(("traceparent", value)) is None


def test_two_traceparents_are_none():
    """Nobody can tell which one it is."""
    said = ("traceparent", f"00-{TRACE}-{SPAN}-01")

    assert seen(said, said) is None


def test_grpcs_binary_form_is_understood():
    """But not where there is the other one."""
    assert (TRACE, SPAN, True) == seen(("grpc-trace-bin", BINARY))
    assert (TRACE, SPAN, False) == seen(("grpc-trace-bin", BINARY), ("traceparent", f"00-{TRACE}-{SPAN}-00"))


@pytest.mark.parametrize("value", [b"", BINARY[:-1], BINARY + b"\0", b"\1" + BINARY[1:], "text"])
def test_what_is_no_binary_form_is_none(value: str | bytes):
    """Of another version, or size."""
    assert seen(("grpc-trace-bin", value)) is None


def test_a_named_child_is_always_the_same():
    """Nobody has to pass it around; others have other ids."""
    span = TraceContext(TRACE, SPAN, True)
    ids = [span.child(name).span_id for name in ("alpha", "alpha", "beta", "", "")]

    assert ids[0] == ids[1]
    assert 4 == len(set(ids))
    assert {TRACE} == {span.child(name).trace_id for name in ("alpha", "")}


def test_what_is_worth_keeping_keeps_all_around_it():
    """Spans that are over by then are lost; those that are not, and those to come, are kept."""
    rpc = TraceContext(TRACE, SPAN, sampled=False)
    rpc.child().keep()

    assert rpc.sampled
    assert rpc.child().sampled


@pytest.mark.parametrize(("ratio", "sampled"), [(0.0, False), (1.0, True)])
def test_a_share_of_own_traces_is_kept(ratio: float, sampled: bool):
    """None and all, at the ends."""
    assert {sampled} == {new_trace(ratio).sampled for _ in range(100)}


async def test_what_goes_out_comes_in():
    """As the same span; in a task that belongs to none, nothing goes out."""

    async def call(context: TraceContext) -> tuple[tuple[str, str], ...]:
        CURRENT.set(context)
        return outgoing()

    sent = await asyncio.create_task(call(TraceContext(TRACE, SPAN, True)))

    assert (TRACE, SPAN, True) == seen(*sent)
    assert () == outgoing()
