"""What a decision looks like. Every default here withholds: a verdict that nobody filled in releases nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Decision(StrEnum):
    """The two answers; there is no third."""

    WITHHOLD = "WITHHOLD"
    RELEASE = "RELEASE"


class Action(StrEnum):
    """What the caller should do with a withheld completion."""

    NONE = "NONE"
    REGENERATE = "REGENERATE"
    USE_FALLBACK_TEXT = "USE_FALLBACK_TEXT"
    ESCALATE = "ESCALATE"
    RETRACT = "RETRACT"


class Reason(StrEnum):
    """Why a completion was withheld. The order is the order in which reasons are reported; metrics count the first."""

    HARMFUL = "HARMFUL"
    DISAGREEMENT = "DISAGREEMENT"
    UNCERTAIN = "UNCERTAIN"
    OUT_OF_DISTRIBUTION = "OUT_OF_DISTRIBUTION"
    MEMBER_TIMED_OUT = "MEMBER_TIMED_OUT"
    MEMBER_FAILED = "MEMBER_FAILED"
    MEMBER_INVALID = "MEMBER_INVALID"
    OVERLOADED = "OVERLOADED"
    DEADLINE = "DEADLINE"
    INPUT_EMPTY = "INPUT_EMPTY"
    INPUT_TOO_LONG = "INPUT_TOO_LONG"
    INPUT_UNREADABLE = "INPUT_UNREADABLE"
    COVERAGE_INCOMPLETE = "COVERAGE_INCOMPLETE"
    CERTIFICATE_LAPSED = "CERTIFICATE_LAPSED"
    CONSERVATIVE_MODE = "CONSERVATIVE_MODE"
    POLICY_INVALID = "POLICY_INVALID"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INPUT_INCOMPLETE = "INPUT_INCOMPLETE"
    AUDIT_FAILED = "AUDIT_FAILED"


REASON_ORDER = {reason: place for place, reason in enumerate(Reason)}


@dataclass(frozen=True)
class CategoryResult:
    """The panel's result in one category; `reasons` is empty when the category does not withhold, or nobody was asked."""

    category: str
    panel_score: float | None = None
    reasons: tuple[Reason, ...] = ()
    llr: Mapping[str, float] = field(default_factory=dict)
    """Member -> log-likelihood ratio in nats, for every required member that gave a valid score."""
    clear: frozenset[str] = frozenset()
    dissenters: tuple[str, ...] = ()
    margin: float | None = None
    """Distance to the category's nearest threshold in nats; None while evidence is missing."""


@dataclass(frozen=True)
class Verdict:
    """A decision and its explanation, in order of importance."""

    decision: Decision = Decision.WITHHOLD
    reasons: tuple[Reason, ...] = ()
    action: Action = Action.USE_FALLBACK_TEXT
    retryable: bool = False
    retry_after_ms: int = 0
    margin: float | None = None
    margin_comparable: bool = False
    disagreement: float | None = None
    categories: tuple[CategoryResult, ...] = ()
    profile: str = ""

    @property
    def released(self) -> bool:
        """True only for an explicit RELEASE."""
        return self.decision is Decision.RELEASE
