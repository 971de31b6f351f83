"""`decide` on everything outside members: alarms, the gate, the certificate, modes, profiles and the caller's margin."""

import math
from dataclasses import replace

import pytest
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, MemberEvidence, MissingCause, not_asked
from interlock_server.decision.verdict import Reason

from .samples import HARMFUL, category_rule, evidence, policy, profile

GATED = policy(ood_alpha=0.01)


@pytest.mark.parametrize("alarm", list(Reason))
def test_any_alarm_withholds(alarm: Reason):
    """An alarm withholds a text that every member finds clear, and is the reason."""
    assert (alarm,) == decide(evidence(alarms=(alarm,)), policy()).reasons


def test_the_gate_is_quiet_for_a_usual_text():
    """A p-value well above its limit does not withhold."""
    assert decide(evidence(ood_pvalue=0.5), GATED).released


@pytest.mark.parametrize("pvalue", [0.0, 0.005, 0.01, 0.0104, None, math.nan, math.inf, -0.5, 1.5])
def test_the_gate_withholds(pvalue: float | None):
    """A p-value at or near its limit withholds, and so does one that is missing or none."""
    assert (Reason.OUT_OF_DISTRIBUTION,) == decide(evidence(ood_pvalue=pvalue), GATED).reasons


def test_the_gate_has_a_margin():
    """The distance to the limit is in nats, like every other."""
    assert math.log(0.02 / 0.01) == pytest.approx(decide(evidence(ood_pvalue=0.02), GATED).margin)


@pytest.mark.parametrize("pvalue", [0.0, math.nan, None])
def test_without_a_gate_the_p_value_is_not_looked_at(pvalue: float | None):
    """A policy that states no limit does not ask for the value."""
    assert decide(evidence(ood_pvalue=pvalue), policy()).released


@pytest.mark.parametrize("state", [CertificateState.NONE, CertificateState.LAPSED, CertificateState.VOID])
def test_a_required_certificate_that_does_not_hold_withholds(state: CertificateState):
    """A policy may insist on a certificate."""
    verdict = decide(evidence(certificate=state), policy(certificate_required=True))

    assert (Reason.CERTIFICATE_LAPSED,) == verdict.reasons


@pytest.mark.parametrize("state", [CertificateState.VALID, CertificateState.EXPIRING])
def test_a_certificate_that_holds_releases(state: CertificateState):
    """A certificate holds until it lapses."""
    assert decide(evidence(certificate=state), policy(certificate_required=True)).released


def test_a_certificate_that_is_not_required_is_not_looked_at():
    """By default a lapsed certificate is an alarm for people, not for `decide`."""
    assert decide(evidence(certificate=CertificateState.LAPSED), policy()).released


def test_conservative_mode_withholds():
    """The switch that operators have withholds everything."""
    assert (Reason.CONSERVATIVE_MODE,) == decide(evidence(conservative=True), policy()).reasons


def test_an_unknown_profile_withholds():
    """A profile that the policy does not have is not replaced by its default."""
    verdict = decide(evidence(profile="lenient"), policy())

    assert ((Reason.POLICY_INVALID,), "lenient", False) == (verdict.reasons, verdict.profile, verdict.released)


def test_a_named_profile_is_applied():
    """A request may name any profile of the policy."""
    strict = profile(categories={"harm": category_rule(release_below=0.1)})
    both = policy(profiles={"balanced": profile(), "strict": strict})

    assert decide(evidence(0.06), both).released
    assert (Reason.UNCERTAIN,) == decide(evidence(0.06, profile="strict"), both).reasons


@pytest.mark.parametrize("extra_margin", [math.nan, math.inf, -math.inf, -0.1, 10**400])
@pytest.mark.parametrize("sample", [policy(), GATED])
def test_a_tightening_that_is_no_number_withholds(extra_margin: float, sample: object):
    """What is not finite, or would loosen, is refused for that reason and no other."""
    verdict = decide(evidence(extra_margin=extra_margin, ood_pvalue=0.5), sample)

    assert (Reason.POLICY_INVALID,) == verdict.reasons


def test_the_largest_tightening_is_uncertain():
    """The largest number there is withholds everything, without an overflow and without a gate to blame."""
    assert (Reason.UNCERTAIN,) == decide(evidence(extra_margin=1.7976931348623157e308), policy()).reasons


def test_reasons_are_in_the_order_of_the_enum():
    """Whatever the order of causes, metrics count the gravest one."""
    alarms = (Reason.INTERNAL_ERROR, Reason.OVERLOADED)
    verdict = decide(evidence(HARMFUL, HARMFUL, alarms=alarms, conservative=True), policy())

    expected = (Reason.HARMFUL, Reason.OVERLOADED, Reason.CONSERVATIVE_MODE, Reason.INTERNAL_ERROR)
    assert expected == verdict.reasons


def test_an_exchange_that_was_refused_withholds():
    """The evidence that the filter writes for a refusal has one reason."""
    assert (Reason.INPUT_EMPTY,) == decide(not_asked(("alpha", "beta"), Reason.INPUT_EMPTY), policy()).reasons


def test_an_outage_of_the_gated_member_is_an_outage():
    """No p-value because nobody was there: worth another try, and not a strange text."""
    absent = tuple(MemberEvidence(item.member, missing=MissingCause.TIMED_OUT) for item in evidence().members)
    verdict = decide(replace(evidence(), members=absent, ood_pvalue=None), GATED)

    assert ((Reason.MEMBER_TIMED_OUT,), True) == (verdict.reasons, verdict.retryable)


def test_a_refusal_under_a_gate_is_a_refusal():
    """As without one."""
    verdict = decide(not_asked(("alpha", "beta"), Reason.OVERLOADED), GATED)

    assert ((Reason.OVERLOADED,), True) == (verdict.reasons, verdict.retryable)
