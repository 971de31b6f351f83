"""What `decide` is given: everything that can change a verdict is a field here. Absent evidence is a value, not an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from interlock_server.decision.verdict import Reason


class MissingCause(StrEnum):
    """Why a member has no complete evidence."""

    TIMED_OUT = "TIMED_OUT"
    FAILED = "FAILED"
    INVALID = "INVALID"
    OVERLOADED = "OVERLOADED"
    BREAKER_OPEN = "BREAKER_OPEN"
    NOT_ASKED = "NOT_ASKED"


class CertificateState(StrEnum):
    """Whether the policy's certificate holds."""

    NONE = "NONE"
    VALID = "VALID"
    EXPIRING = "EXPIRING"
    LAPSED = "LAPSED"
    VOID = "VOID"


@dataclass(frozen=True)
class MemberEvidence:
    """What one member said: P(harm) per category, the worst over all views and windows that it scored.

    With `missing` set the scores are those of some windows only: they may prove harm, never clearness.
    """

    member: str
    scores: Mapping[str, float] = field(default_factory=dict)
    missing: MissingCause | None = None
    coverage_complete: bool = False


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict depends on, apart from the policy."""

    members: tuple[MemberEvidence, ...] = ()
    profile: str = ""
    extra_margin: float = 0.0
    alarms: tuple[Reason, ...] = ()
    """Causes outside the members that force a WITHHOLD, such as INPUT_TOO_LONG or DEADLINE."""
    ood_pvalue: float | None = None
    certificate: CertificateState = CertificateState.NONE
    conservative: bool = False


def valid_score(score: object) -> bool:
    """True for a real number in [0, 1]; NaN, infinities, booleans and anything else are not scores."""
    kind = type(score)
    number = kind is float or (isinstance(score, float | int) and kind is not bool)
    return number and 0 <= score <= 1  # type: ignore[operator]


def not_asked(members: tuple[str, ...], alarm: Reason, profile: str = "", extra_margin: float = 0.0) -> Evidence:
    """The evidence of an exchange that was refused before any member was asked."""
    absent = tuple(MemberEvidence(member, missing=MissingCause.NOT_ASKED) for member in members)
    return Evidence(absent, profile, extra_margin, alarms=(alarm,))
