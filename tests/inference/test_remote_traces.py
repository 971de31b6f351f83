"""A call to a remote member belongs to the trace of the request that it is for, below the member's span."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import BENIGN
from interlock_server.backends.backend import Window
from interlock_server.inference.batching import Batch, Inquiry
from interlock_server.inference.panel import Question
from interlock_server.text.exchange import Exchange
from interlock_server.trace_context import TraceContext, outgoing

from .test_remote import PATIENT_S, good, remote, running

REQUEST = TraceContext("a" * 32, "b" * 16, True)


@pytest.mark.parametrize("trace", [REQUEST, None])
async def test_a_call_carries_the_members_span(trace: TraceContext | None):
    """And nothing where nothing is traced."""
    carried: list[Any] = []

    async def noting(windows: Sequence[Window]) -> Any:
        carried.append(outgoing())
        return await good(windows)

    async with running(remote(noting)) as panel:
        deadline_s = time.monotonic() + PATIENT_S
        await panel.ask(Question(lambda: Exchange("", BENIGN), len(BENIGN), deadline_s, trace=trace))

    assert [() if trace is None else (("traceparent", trace.child("far").traceparent),)] == carried


@pytest.mark.parametrize("places", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_batch_belongs_to_a_trace_that_is_kept(places: tuple[int, ...]):
    """A call has room for one."""
    traces = [None, TraceContext("c" * 32, "d" * 16, sampled=False), REQUEST]
    member = remote()
    inquiries = [
        Inquiry(lambda: Exchange("", BENIGN), [member], deadline_s=1.0, submitted_s=0.0, trace=traces[place])
        for place in places
    ]
    pieces: Any = [(inquiry.items[0], None) for inquiry in inquiries]

    assert Batch(member, pieces, 0.0).trace is REQUEST
