"""What to do with a withheld completion: a table from the first reason to an action. Nothing here can release."""

from collections.abc import Mapping
from typing import NamedTuple

from interlock_server.decision.verdict import Action, Reason, Verdict


class Advice(NamedTuple):
    """The default action for a reason; retryable when the cause may pass without the text changing."""

    action: Action
    retryable: bool = False
    retry_after_ms: int = 0


NO_ADVICE = Advice(Action.NONE)

ADVICE: Mapping[Reason, Advice] = {
    Reason.HARMFUL: Advice(Action.REGENERATE),
    Reason.DISAGREEMENT: Advice(Action.REGENERATE),
    Reason.UNCERTAIN: Advice(Action.REGENERATE),
    Reason.OUT_OF_DISTRIBUTION: Advice(Action.USE_FALLBACK_TEXT),
    Reason.MEMBER_TIMED_OUT: Advice(Action.USE_FALLBACK_TEXT, True, 100),
    Reason.MEMBER_FAILED: Advice(Action.USE_FALLBACK_TEXT, True, 500),
    Reason.MEMBER_INVALID: Advice(Action.USE_FALLBACK_TEXT),
    Reason.OVERLOADED: Advice(Action.USE_FALLBACK_TEXT, True, 200),
    Reason.DEADLINE: Advice(Action.USE_FALLBACK_TEXT),
    Reason.INPUT_EMPTY: Advice(Action.REGENERATE),
    Reason.INPUT_TOO_LONG: Advice(Action.REGENERATE),
    Reason.INPUT_UNREADABLE: Advice(Action.REGENERATE),
    Reason.COVERAGE_INCOMPLETE: Advice(Action.USE_FALLBACK_TEXT),
    Reason.CERTIFICATE_LAPSED: Advice(Action.USE_FALLBACK_TEXT),
    Reason.CONSERVATIVE_MODE: Advice(Action.ESCALATE),
    Reason.POLICY_INVALID: Advice(Action.USE_FALLBACK_TEXT),
    Reason.INTERNAL_ERROR: Advice(Action.USE_FALLBACK_TEXT, True, 500),
    Reason.INPUT_INCOMPLETE: Advice(Action.REGENERATE),
    Reason.AUDIT_FAILED: Advice(Action.USE_FALLBACK_TEXT, True, 1000),
}


def advise(reasons: tuple[Reason, ...], overrides: Mapping[Reason, Action]) -> Advice:
    """The advice for the first reason; it is worth a retry only if every reason may pass."""
    first = ADVICE[reasons[0]]
    return Advice(
        action=overrides.get(reasons[0], first.action),
        retryable=all(ADVICE[reason].retryable for reason in reasons),
        retry_after_ms=max(ADVICE[reason].retry_after_ms for reason in reasons),
    )


def withheld(reason: Reason, profile: str = "") -> Verdict:
    """The verdict for a case in which there is no policy to apply."""
    advice = ADVICE[reason]
    return Verdict(
        reasons=(reason,),
        action=advice.action,
        retryable=advice.retryable,
        retry_after_ms=advice.retry_after_ms,
        profile=profile,
    )
