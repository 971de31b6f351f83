"""What is said of a screening, after the fact. PURE: reports and times become spans.

Attributes are ids, digests, names of ours, counts, sizes and seconds. Nothing in them is written by a caller, and there is no
hash of a text, since short texts can be guessed from theirs; the audit log has more, under the verdict's id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from interlock_server.decision.verdict import Reason, Verdict
from interlock_server.inference.scoring import MemberReport
from interlock_server.screening import Request, Screening
from interlock_server.trace_context import TraceContext

Attribute = str | int | float | bool
Kind = Literal["server", "internal"]

OUTAGES = frozenset(
    {
        *(Reason.MEMBER_TIMED_OUT, Reason.MEMBER_FAILED, Reason.MEMBER_INVALID, Reason.OVERLOADED, Reason.DEADLINE),
        *(Reason.COVERAGE_INCOMPLETE, Reason.POLICY_INVALID, Reason.INTERNAL_ERROR, Reason.AUDIT_FAILED),
    }
)
"""Reasons that say something about the service, and not about a text."""


class Stage(StrEnum):
    """What a screening has behind it."""

    BEGUN = "begun"
    CACHED = "cached"
    """The members had been asked before."""
    GATHERED = "gathered"
    """All evidence is there that will be."""
    DECIDED = "decided"
    ENDED = "ended"


Times = Mapping[Stage, float]
"""When a stage was reached, on the monotonic clock."""


@dataclass(frozen=True)
class Span:
    """One span; times are on the monotonic clock. `error` is why it failed, in a word of ours."""

    name: str
    context: TraceContext
    begun_s: float
    ended_s: float
    attributes: Mapping[str, Attribute]
    kind: Kind = "internal"
    error: str = ""


def outage(verdict: Verdict) -> str:
    """The first reason that is the service's, or nothing."""
    return next((reason.value for reason in verdict.reasons if reason in OUTAGES), "")


def spans_of(context: TraceContext, times: Times, rpc: str, request: Request, screening: Screening) -> Iterator[Span]:
    """The spans of one screening: itself, the wait, the members, the decision, the record."""
    begun_s, ended_s = times[Stage.BEGUN], times[Stage.ENDED]
    decided_s = times.get(Stage.DECIDED, ended_s)
    gathered_s = times.get(Stage.GATHERED, decided_s)
    said = _attributes(rpc, request, screening) | {"interlock.cached": Stage.CACHED in times}
    # Without an RPC around it, such as for an item of a stream, it stands for one.
    kind: Kind = "server" if context.parent is None else "internal"
    yield Span("screen", context, begun_s, ended_s, said, kind, outage(screening.verdict))
    asked = [report for report in screening.reports if report.evidence.missing != "NOT_ASKED"]
    if asked and Stage.CACHED not in times:
        waited_s = min(gathered_s, begun_s + min(report.queue_s for report in asked))
        yield Span("queue", context.child("queue"), begun_s, waited_s, {})
        for report in asked:
            yield _member(context, report, begun_s, gathered_s)
    yield Span("decide", context.child("decide"), gathered_s, decided_s, {})
    yield Span("record", context.child("record"), decided_s, ended_s, {})


def _attributes(rpc: str, request: Request, screening: Screening) -> dict[str, Attribute]:
    verdict = screening.verdict
    return {
        "interlock.rpc": rpc,
        "interlock.verdict_id": screening.verdict_id,
        "interlock.decision": verdict.decision.value,
        "interlock.reason": verdict.reasons[0].value if verdict.reasons else "",
        "interlock.profile": verdict.profile,
        "interlock.bundle": screening.digests.bundle,
        "interlock.policy": screening.digests.policy,
        "interlock.prompt_bytes": len(request.prompt),
        "interlock.completion_bytes": len(request.completion),
        "interlock.partial": request.partial,
        "interlock.observed": screening.observed_only,
    }


def _member(context: TraceContext, report: MemberReport, begun_s: float, gathered_s: float) -> Span:
    """From its first run to the end of its last; one that never ran, or never ended, lasts until nobody waited any more."""
    name, missing = report.evidence.member, report.evidence.missing
    first_s = min(begun_s + report.queue_s, gathered_s) if report.lasted_s else begun_s
    last_s = min(first_s + report.lasted_s, gathered_s) if report.lasted_s else gathered_s
    said: dict[str, Attribute] = {
        "interlock.member": name,
        "interlock.windows": report.windows_scored,
        "interlock.tokens": report.tokens_scored,
        "interlock.queue_seconds": report.queue_s,
        "interlock.tokenize_seconds": report.read_s,
        "interlock.infer_seconds": report.infer_s,
    }
    return Span(f"member {name}", context.child(name), first_s, last_s, said, error=missing.value if missing else "")
