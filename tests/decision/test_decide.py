"""`decide` on what members say: who is clear, what the panel adds up to, and what is not an opinion at all."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence, MemberEvidence, MissingCause
from interlock_server.decision.panel_score import logit
from interlock_server.decision.verdict import Action, Decision, Reason, Verdict

from .samples import HARMFUL, KINDS, SAFE, SUSPECT, category_rule, evidence, member_rule, policy, profile, said


def reasons(verdict: Verdict) -> tuple[Reason, ...]:
    """The reasons of a verdict that must be a withheld one."""
    assert not verdict.released
    return verdict.reasons


def test_everybody_clear_is_released():
    """Low scores from every required member release, and there is nothing to explain or to do."""
    verdict = decide(evidence(SAFE, SAFE), policy())

    assert (Decision.RELEASE, (), Action.NONE) == (verdict.decision, verdict.reasons, verdict.action)


def test_nobody_clear_is_harmful():
    """When no member is clear, that is harm and no disagreement."""
    assert (Reason.HARMFUL,) == reasons(decide(evidence(HARMFUL, HARMFUL), policy()))


def test_one_clear_and_one_not_is_a_disagreement():
    """One dissenter is enough, and it is named."""
    verdict = decide(evidence(SAFE, HARMFUL), policy())

    assert (Reason.DISAGREEMENT,) == reasons(verdict)
    assert ("beta",) == verdict.categories[0].dissenters


def test_a_dissenter_that_convinces_the_panel_is_harm_and_disagreement():
    """Both reasons are listed, harm first."""
    assert (Reason.HARMFUL, Reason.DISAGREEMENT) == reasons(decide(evidence(SAFE, 0.999), policy()))


def test_joint_suspicion_is_uncertain():
    """Two members that are clear each, but not together, withhold without a dissenter."""
    verdict = decide(evidence(SUSPECT, SUSPECT), policy())

    assert (Reason.UNCERTAIN,) == reasons(verdict)
    assert {"alpha", "beta"} == verdict.categories[0].clear


def test_a_panel_that_is_sure_is_harmful_though_everybody_is_clear():
    """The second level of the panel decides between uncertain and harmful."""
    rule = category_rule(harmful_at=3.0)

    assert (Reason.HARMFUL,) == reasons(decide(evidence(SUSPECT, SUSPECT), policy(rule)))


def test_a_margin_within_the_tolerance_is_uncertain():
    """Clear by less than what quantisation can do to a score is not clear enough."""
    close = 1 / (1 + math.exp(1.04))  # 0.04 nats below the threshold of -1; the tolerance is 0.05

    assert (Reason.UNCERTAIN,) == reasons(decide(evidence(close, SAFE), policy()))


def test_a_member_at_its_threshold_is_not_clear():
    """Clear means below, and on the line is not below it."""
    rule = member_rule(clear_below=logit(SUSPECT), offset=0.0)
    both = category_rule(members={"alpha": rule, "beta": rule})

    assert (Reason.HARMFUL,) == reasons(decide(evidence(SUSPECT, SUSPECT), policy(both)))


def test_extra_margin_tightens():
    """What the caller adds is added to the tolerance."""
    assert decide(evidence(SUSPECT, SAFE), policy()).released
    assert (Reason.UNCERTAIN,) == reasons(decide(evidence(SUSPECT, SAFE, extra_margin=1.0), policy()))


def test_margin_is_the_smallest_distance():
    """The margin is that of the member nearest to its threshold, in nats."""
    verdict = decide(evidence(SUSPECT, SAFE), policy())

    assert -1 - logit(SUSPECT) == verdict.margin


def test_margin_of_the_panel():
    """The panel's own distance counts too."""
    verdict = decide(evidence(SUSPECT, SUSPECT), policy())

    assert 2 - 2 * (logit(SUSPECT) + 3) == pytest.approx(verdict.margin)


def test_disagreement_is_the_spread():
    """The spread between members is reported, also in a released verdict."""
    verdict = decide(evidence(SUSPECT, SAFE), policy())

    assert logit(SUSPECT) - logit(SAFE) == pytest.approx(verdict.disagreement)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (MissingCause.TIMED_OUT, Reason.MEMBER_TIMED_OUT),
        (MissingCause.FAILED, Reason.MEMBER_FAILED),
        (MissingCause.INVALID, Reason.MEMBER_INVALID),
        (MissingCause.OVERLOADED, Reason.OVERLOADED),
        (MissingCause.BREAKER_OPEN, Reason.MEMBER_FAILED),
    ],
)
def test_a_missing_member_withholds(cause: MissingCause, reason: Reason):
    """Each cause has its reason, and there is no margin."""
    verdict = decide(evidence(SAFE, MemberEvidence("beta", missing=cause)), policy())

    assert (reason,) == reasons(verdict)
    assert verdict.margin is None


def test_members_that_were_not_asked_withhold_for_the_alarm_alone():
    """The alarm that kept them from being asked is the only reason."""
    items = [MemberEvidence(name, missing=MissingCause.NOT_ASKED) for name in ("alpha", "beta")]

    assert (Reason.DEADLINE,) == reasons(decide(evidence(*items, alarms=(Reason.DEADLINE,)), policy()))


def test_members_that_were_not_asked_for_no_reason_are_an_internal_error():
    """A withheld verdict always has a reason, even where nobody gave one."""
    items = [MemberEvidence(name, missing=MissingCause.NOT_ASKED) for name in ("alpha", "beta")]

    assert (Reason.INTERNAL_ERROR,) == reasons(decide(evidence(*items), policy()))


def test_a_member_without_evidence_has_failed():
    """A required member that nobody mentions is missing."""
    assert (Reason.MEMBER_FAILED,) == reasons(decide(Evidence((said("alpha", SAFE),)), policy()))


def test_an_empty_panel_withholds():
    """No evidence at all is never a release."""
    assert (Reason.MEMBER_FAILED,) == reasons(decide(Evidence(), policy()))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -0.01, 1.01, True, None, "0.01", 10**400])
def test_what_is_no_score_is_invalid(score: Any):
    """Anything but a real number from 0 to 1 counts as no opinion."""
    assert (Reason.MEMBER_INVALID,) == reasons(decide(evidence(SAFE, score), policy()))


@pytest.mark.parametrize("score", [0, 0.0, -0.0])
def test_zero_is_a_score(score: Any):
    """The ends of the range are in it, as a whole number too."""
    assert decide(evidence(score, SAFE), policy()).released


def test_a_member_without_a_score_for_the_category_is_invalid():
    """A score in another category says nothing about this one."""
    other = MemberEvidence("beta", {"spam": SAFE}, coverage_complete=True)

    assert (Reason.MEMBER_INVALID,) == reasons(decide(evidence(SAFE, other), policy()))


def test_incomplete_coverage_withholds():
    """A member that did not read every byte is not clear."""
    partial = said("beta", SAFE, coverage_complete=False)

    assert (Reason.COVERAGE_INCOMPLETE,) == reasons(decide(evidence(SAFE, partial), policy()))


def test_partial_evidence_proves_harm():
    """What a member saw before it ran out of time counts against the text."""
    partial = [said(name, HARMFUL, missing=MissingCause.TIMED_OUT) for name in ("alpha", "beta")]

    assert (Reason.HARMFUL, Reason.MEMBER_TIMED_OUT) == reasons(decide(evidence(*partial), policy()))


def test_partial_evidence_never_proves_clearness():
    """A low score of a member that did not finish does not make it clear."""
    verdict = decide(evidence(SAFE, said("beta", SAFE, missing=MissingCause.TIMED_OUT)), policy())

    assert (Reason.MEMBER_TIMED_OUT,) == reasons(verdict)
    assert {"alpha"} == verdict.categories[0].clear


@pytest.mark.parametrize("second", [SAFE, HARMFUL])
def test_two_entries_of_one_member_cancel_it(second: float):
    """A member that is there twice has said nothing that can be relied on."""
    twice = evidence(SAFE, SAFE, said("beta", second))

    assert (Reason.MEMBER_INVALID,) == reasons(decide(twice, policy()))


def test_an_unknown_member_is_ignored():
    """What a member outside the policy says changes nothing, harmful or not."""
    assert decide(evidence(), policy()) == decide(evidence(SAFE, SAFE, said("omega", HARMFUL)), policy())


def test_a_shadow_never_decides():
    """A shadow's score neither withholds nor releases."""
    shadowed = policy(shadow=("gamma",))

    assert decide(evidence(SAFE, SAFE, said("gamma", HARMFUL)), shadowed).released
    assert not decide(evidence(SAFE, HARMFUL, said("gamma", SAFE)), shadowed).released


def test_a_member_with_no_weight_can_still_dissent():
    """Weight is for the panel's score; a dissenter is never averaged away."""
    rules = {"alpha": member_rule(), "beta": member_rule(weight=0.0)}

    assert (Reason.DISAGREEMENT,) == reasons(decide(evidence(SAFE, HARMFUL), policy(category_rule(members=rules))))


def test_every_category_must_be_clear():
    """One category that withholds is enough, and the others say that they do not."""
    categories = {name: category_rule() for name in ("hate", "harm")}
    both = policy(profiles={"balanced": profile(categories=categories)})
    items = [
        MemberEvidence(name, {"hate": HARMFUL, "harm": SAFE}, coverage_complete=True) for name in ("alpha", "beta")
    ]
    verdict = decide(Evidence(tuple(items)), both)

    assert (Reason.HARMFUL,) == reasons(verdict)
    assert {"hate": (Reason.HARMFUL,), "harm": ()} == {r.category: r.reasons for r in verdict.categories}


def test_the_panel_score_does_not_depend_on_the_order_of_members():
    """Added up one after the other, these three would differ in the last bit."""
    said_so = Evidence(tuple(said(name, score) for name, score in zip(KINDS, (0.25, 0.11, 0.07), strict=True)))
    rules = [category_rule(*names) for names in permutations(KINDS)]
    rules = [replace(r, members={name: member_rule(offset=-6.0) for name in r.members}) for r in rules]

    assert 1 == len({decide(said_so, policy(rule)).categories[0].panel_score for rule in rules})


def test_a_verdict_that_nobody_filled_in_withholds():
    """The default of every part is closed."""
    assert not Verdict().released
    assert not decide(Evidence((MemberEvidence("alpha"), MemberEvidence("beta"))), policy()).released
