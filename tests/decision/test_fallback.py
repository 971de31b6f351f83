"""What a caller is advised to do: the table of actions, what a policy may change in it, and when a retry is worth it."""

import pytest
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.decision.fallback import ADVICE, NO_ADVICE, advise, withheld
from interlock_server.decision.verdict import Action, Reason

from .samples import HARMFUL, SAFE, evidence, policy

LATE = MemberEvidence("beta", missing=MissingCause.TIMED_OUT)


def test_every_reason_has_advice():
    """The table is complete."""
    assert set(Reason) == set(ADVICE)


def test_no_advice_is_to_do_nothing():
    """Only a released verdict has no action: every withheld one says what to do."""
    assert Action.NONE == NO_ADVICE.action
    assert Action.NONE not in {advice.action for advice in ADVICE.values()}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_wait_belongs_to_a_retry(reason: Reason):
    """A reason states how long to wait exactly when waiting may help."""
    assert ADVICE[reason].retryable == (ADVICE[reason].retry_after_ms > 0)


@pytest.mark.parametrize("reason", [Reason.HARMFUL, Reason.DISAGREEMENT, Reason.UNCERTAIN, Reason.OUT_OF_DISTRIBUTION])
def test_a_judgement_on_the_text_is_never_retryable(reason: Reason):
    """Asking again about the same text would be an attack on the filter, not a cure."""
    assert not ADVICE[reason].retryable


def test_the_first_reason_chooses_the_action():
    """A harmful text is to be regenerated, also when a member was late too."""
    assert Action.REGENERATE == advise((Reason.HARMFUL, Reason.MEMBER_TIMED_OUT), {}).action


def test_the_policy_overrides_an_action():
    """Operators may escalate what we would regenerate."""
    verdict = decide(evidence(HARMFUL, HARMFUL), policy(actions={Reason.HARMFUL: Action.ESCALATE}))

    assert Action.ESCALATE == verdict.action


def test_an_override_of_another_reason_changes_nothing():
    """Only the first reason is looked up."""
    overrides = {Reason.MEMBER_TIMED_OUT: Action.ESCALATE}

    assert Action.REGENERATE == advise((Reason.HARMFUL, Reason.MEMBER_TIMED_OUT), overrides).action


def test_an_outage_is_retryable():
    """A late member may be in time the next time."""
    verdict = decide(evidence(SAFE, LATE), policy())

    assert (True, 100) == (verdict.retryable, verdict.retry_after_ms)


def test_one_reason_that_stays_is_enough_not_to_retry():
    """A retry is worth it only if every reason may pass."""
    verdict = decide(evidence(SAFE, LATE, conservative=True), policy())

    assert (Reason.MEMBER_TIMED_OUT, Reason.CONSERVATIVE_MODE) == verdict.reasons
    assert not verdict.retryable


def test_the_longest_wait_counts():
    """A retry must outlast every reason."""
    assert 500 == advise((Reason.MEMBER_TIMED_OUT, Reason.INTERNAL_ERROR), {}).retry_after_ms


@pytest.mark.parametrize("reason", list(Reason))
def test_a_verdict_without_a_policy_withholds(reason: Reason):
    """Where there is no policy to apply, the verdict is still complete."""
    verdict = withheld(reason)

    assert (False, (reason,), ADVICE[reason].action) == (verdict.released, verdict.reasons, verdict.action)
