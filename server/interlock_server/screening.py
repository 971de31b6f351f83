"""What is asked of the filter, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock_server.audit.record import Digests, StreamTrace
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.verdict import Reason, Verdict
from interlock_server.inference.scoring import KnownRows, MemberReport

UNKNOWN = Digests(bundle="", policy="", build="")


@dataclass(frozen=True)
class Request:
    """What a caller asks: texts as they came, and what may tighten the policy. `deadline_s` is on the monotonic clock."""

    prompt: bytes
    completion: bytes
    profile: str = ""
    extra_margin: float = 0.0
    deadline_s: float = float("inf")
    observed_only: bool = False
    bulk: bool = False
    """Nobody is waiting for it: it is done when nothing else is to do."""
    caller: str = ""
    """Who asks, as far as the edge knows; it decides nothing but whose cached evidence may be used."""
    request_id: str = ""
    refused: Reason | None = None
    """Why the members are not to be asked at all, such as OVERLOADED."""
    stream: StreamTrace | None = None
    """Which part of a growing completion this is."""
    known: KnownRows | None = None
    """What members said of windows of the same completion when it was shorter."""

    @property
    def partial(self) -> bool:
        """The completion goes on, and this is not the verdict on it."""
        return self.stream is not None and not self.stream.whole


@dataclass(frozen=True)
class Screening:
    """A verdict with what led to it; everything that replay needs."""

    verdict: Verdict
    evidence: Evidence
    reports: tuple[MemberReport, ...]
    completion_sha256: bytes
    verdict_id: str
    total_s: float
    digests: Digests = UNKNOWN
    """Of what decided: the policy is the one whose verdict this is."""
    observed_only: bool = False
    others: Mapping[str, Verdict] = field(default_factory=dict)
    """What another policy said, by its name in the record."""
    released_bytes: int = 0
    """Of a growing completion: how much had been released when it was withheld."""
    trace_id: str = ""
    """Of the trace that is kept of it, if there is one."""
