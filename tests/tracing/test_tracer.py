"""What is traced: what callers want, a share of the rest, and outages; and what the spans say."""

from typing import Any

import pytest
from fakes import CATEGORIES
from interlock_server.audit.record import Digests
from interlock_server.decision.evidence import Evidence, MemberEvidence, MissingCause
from interlock_server.decision.verdict import Decision, Reason, Verdict
from interlock_server.inference.scoring import MemberReport, absent
from interlock_server.screening import Request, Screening
from interlock_server.trace_context import CURRENT, TraceContext
from interlock_server.tracing.settings import TracingSettings
from interlock_server.tracing.spans import Span, Stage, spans_of
from interlock_server.tracing.tracer import SpanTracer

MARKER = "xyzzy-marker"
REQUEST = Request(MARKER.encode(), b"tea", profile=MARKER, caller=MARKER, request_id=MARKER)
HARMFUL, OVERLOADED = (Verdict(Decision.WITHHOLD, reasons=(reason,)) for reason in (Reason.HARMFUL, Reason.OVERLOADED))
TIMES = {Stage.BEGUN: 10.0, Stage.GATHERED: 10.5, Stage.DECIDED: 10.6, Stage.ENDED: 11.0}


def scored(name: str, **timing: float) -> MemberReport:
    """A member that said something."""
    return MemberReport(MemberEvidence(name, dict.fromkeys(CATEGORIES, 0.1)), windows_scored=2, **timing)  # type: ignore[arg-type]


def screening(verdict: Verdict = HARMFUL, reports: tuple[MemberReport, ...] = ()) -> Screening:
    """What came of a request."""
    digests = Digests(bundle="sha256:b", policy="sha256:p", build="1")
    return Screening(verdict, Evidence(()), reports, b"digest", "id", 0.1, digests)


def spans(times: dict[Stage, float] = TIMES, **came: Any) -> dict[str, Span]:
    """What is said of it, by name."""
    context = TraceContext("a" * 32, "b" * 16, True)
    return {span.name: span for span in spans_of(context, times, "Screen", REQUEST, screening(**came))}


class Tracing:
    """A tracer, and what it exports. `parent` is what callers say; the last of their spans is `rpc`."""

    def __init__(self, parent: bool | None = None, **settings: Any) -> None:
        self.spans: list[Span] = []
        self.tracer = SpanTracer(
            TracingSettings(sample_ratio=settings.pop("ratio", 0.0), **settings), self.spans.append
        )
        self.parent = parent
        self.rpc: TraceContext | None = None

    def screened(self, verdict: Verdict = HARMFUL) -> str:
        """The trace that is kept of a screening that ends like that."""
        self.rpc = None if self.parent is None else TraceContext("a" * 32, "b" * 16, self.parent)
        token = CURRENT.set(self.rpc)
        trace = self.tracer.screening("Screen")
        CURRENT.reset(token)
        return trace.end(REQUEST, screening(verdict))


@pytest.mark.parametrize(
    ("parent", "ratio", "kept"), [(True, 0.0, True), (False, 1.0, False), (None, 1.0, True), (None, 0.0, False)]
)
def test_the_caller_decides(parent: bool | None, ratio: float, kept: bool):
    """The ratio is for those who do not say."""
    tracing = Tracing(parent, ratio=ratio)

    assert kept == bool(tracing.screened())
    assert kept == bool(tracing.spans)


def test_outages_are_kept_beside():
    """Up to so many in a second, since in an overload everything is one."""
    tracing = Tracing(parent=False, outages_per_second_max=3)
    kept = [bool(tracing.screened(OVERLOADED)) for _ in range(100)]

    assert kept[:3] == [True, True, True]
    assert sum(kept) <= 6  # a second may have begun meanwhile
    assert not tracing.screened(HARMFUL)


def test_an_outage_keeps_the_rpc_too():
    """As far as it is not over yet."""
    tracing = Tracing(parent=False)
    tracing.screened(OVERLOADED)
    assert tracing.rpc is not None
    tracing.tracer.ended(tracing.rpc, "/interlock.v1.S/Screen", 0.0, (0, "OK"))

    assert ("interlock.v1.S/Screen", "server") == (tracing.spans[-1].name, tracing.spans[-1].kind)


def test_a_screening_says_what_came_of_it():
    """In ids, digests, names of ours and sizes."""
    said = spans()["screen"].attributes

    assert {
        "interlock.rpc": "Screen", "interlock.verdict_id": "id", "interlock.decision": "WITHHOLD",
        "interlock.reason": "HARMFUL", "interlock.bundle": "sha256:b", "interlock.policy": "sha256:p",
        "interlock.prompt_bytes": 12, "interlock.completion_bytes": 3,
    }.items() <= said.items()  # fmt: skip
    assert MARKER not in str(said)


def test_a_member_lasts_from_its_first_run_to_its_last():
    """And the queue until the first of them began."""
    alpha = scored("alpha", queue_s=0.2, lasted_s=0.1, read_s=0.01, infer_s=0.05)
    said = spans(reports=(alpha, scored("beta", queue_s=0.1, lasted_s=9.0)))

    assert [(10.0, 10.1), (10.2, 10.3), (10.1, 10.5)] == [
        (pytest.approx(said[name].begun_s), pytest.approx(said[name].ended_s))
        for name in ("queue", "member alpha", "member beta")
    ]
    assert (0.2, 0.01, 0.05) == tuple(
        said["member alpha"].attributes[f"interlock.{phase}_seconds"] for phase in ("queue", "tokenize", "infer")
    )


def test_a_member_that_said_nothing_is_an_error():
    """With the cause; it was waited for to the end."""
    span = spans(reports=(absent("alpha", MissingCause.TIMED_OUT, queue_s=0.5),))["member alpha"]

    assert ("TIMED_OUT", 10.0, 10.5) == (span.error, span.begun_s, span.ended_s)


def test_decision_and_record_have_their_time():
    """What is after the evidence."""
    said = spans()

    assert [(10.5, 10.6), (10.6, 11.0)] == [(said[name].begun_s, said[name].ended_s) for name in ("decide", "record")]


@pytest.mark.parametrize(("verdict", "error"), [(HARMFUL, ""), (OVERLOADED, "OVERLOADED")])
def test_only_outages_are_errors(verdict: Verdict, error: str):
    """A harmful text is what the service is for."""
    assert error == spans(verdict=verdict)["screen"].error


def test_nobody_was_asked_of_what_was_refused():
    """There is no evidence to wait for, and no member."""
    times = {Stage.BEGUN: 10.0, Stage.DECIDED: 10.1, Stage.ENDED: 10.2}

    assert ["screen", "decide", "record"] == list(
        spans(times, verdict=OVERLOADED, reports=(absent("alpha", MissingCause.NOT_ASKED),))
    )


def test_what_was_kept_has_no_times_of_members():
    """They are those of another request."""
    said = spans({**TIMES, Stage.CACHED: 10.0}, reports=(scored("alpha", queue_s=0.2),))

    assert ["screen", "decide", "record"] == list(said)
    assert said["screen"].attributes["interlock.cached"] is True
