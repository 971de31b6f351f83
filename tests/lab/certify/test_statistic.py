"""What of a unit depends on a dial: found through `decide`, and never better than what is deployed."""

import math
from dataclasses import replace

import pytest
from decision.samples import HARMFUL, SAFE, SUSPECT, category_rule, evidence, policy, profile, said
from hypothesis import given
from hypothesis import strategies as st
from interlock_lab.certify.statistic import (
    caught_by_gate_only,
    margins,
    order_statistic,
    panel_scores,
    released,
    settled,
    statistics,
    turned,
    with_dials,
)
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause, not_asked
from interlock_server.decision.verdict import Reason
from interlock_server.errors import InterlockError

from .samples import score_at

GATED = policy(ood_alpha=0.01)


def statistic(item: Evidence, **changes: object) -> float:
    """T of one unit."""
    return float(statistics([item], policy(**changes), "balanced")[0])


def test_the_statistic_is_how_far_the_dial_must_be_turned():
    """The panel's score, as `decide` computes it, in parts of the dial."""
    assert statistic(evidence(score_at(1.5), score_at(1.5))) == pytest.approx(0.75)


def test_of_several_categories_the_one_that_holds_it_best_counts():
    """What one category catches need not be caught by another."""
    rules = {"harm": category_rule(release_below=2.0), "other": category_rule(release_below=0.5)}
    both = policy(profiles={"balanced": profile(categories=rules)})
    scores = {"harm": score_at(1.5), "other": score_at(1.0)}
    items = tuple(MemberEvidence(name, scores, coverage_complete=True) for name in ("alpha", "beta"))

    assert statistics([Evidence(items)], both, "balanced")[0] == pytest.approx(2.0)


def test_a_turned_dial_stays_at_harmful_at():
    """And is never rounded up."""
    assert [6.0, 1.4142] == [turned(policy(), "balanced", factor)["balanced", "harm"] for factor in (99, 2**-0.5)]


def test_margins_are_in_nats_above_the_dial_in_force():
    """Which is lower by the tolerance; a released unit has a negative one."""
    items = [evidence(score_at(2.2), score_at(2.2)), evidence(), evidence(HARMFUL, HARMFUL)]
    above, below, never = margins(items, policy(), "balanced")

    assert (pytest.approx(0.25), math.inf) == (above, never)
    assert below < 0


@pytest.mark.parametrize(
    "item",
    [
        evidence(HARMFUL, SAFE),
        evidence(said("alpha", 0.1, missing=MissingCause.NOT_ASKED)),
        evidence(said("alpha", 0.1, coverage_complete=False)),
        not_asked(("alpha", "beta"), Reason.INPUT_TOO_LONG),
    ],
    ids=["a member is not clear", "a member is missing", "not all was read", "refused"],
)
def test_what_is_withheld_whatever_the_dial_is_infinite(item: Evidence):
    """No dial lets it out."""
    assert math.inf == statistic(item)


def test_what_the_gate_withholds_is_infinite():
    """A p-value at its limit or below."""
    found = statistics([evidence(ood_pvalue=0.005), evidence(ood_pvalue=0.5)], GATED, "balanced")

    assert [True, False] == [math.isinf(value) for value in found]


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.floats(-0.05, 0.05), st.floats(0.1, 5.0))
def test_what_is_released_in_spite_of_noise_was_counted_as_a_miss(a: float, b: float, noise: float, dial: float):
    """Noise within the tolerance releases nothing whose statistic is at the dial or above."""

    def moved(score: float) -> float:
        return 1 / (1 + math.exp(-(math.log(score / (1 - score)) + noise / 2)))

    in_force = with_dials(policy(), {("balanced", "harm"): dial})
    deployed = decide(evidence(moved(a), moved(b)), in_force)

    assert not deployed.released or statistic(evidence(a, b)) < dial / 2.0 + 1e-9


def test_a_sick_service_proves_nothing():
    """A member that timed out has not caught anything."""
    sick = evidence(said("alpha", 0.1, missing=MissingCause.TIMED_OUT))

    with pytest.raises(InterlockError, match="unit 2 of 2 has no evidence: alpha: TIMED_OUT"):
        settled([evidence(), sick])


@pytest.mark.parametrize("alarm", [Reason.DEADLINE, Reason.OVERLOADED, Reason.INTERNAL_ERROR])
def test_an_alarm_of_the_service_is_no_catch(alarm: Reason):
    """Only properties of the text are."""
    with pytest.raises(InterlockError, match=alarm):
        settled([not_asked(("alpha",), alarm)])


def test_a_missing_certificate_catches_nothing():
    """The policy may require the very certificate that is about to be issued."""
    (item,) = settled([replace(evidence(), certificate=CertificateState.VOID, conservative=True)])

    assert released([item], policy(certificate_required=True), "balanced") == [True]


def test_catches_by_the_gate_alone_are_told():
    """What the members would have withheld as well does not count."""
    items = [evidence(ood_pvalue=0.001), evidence(HARMFUL, HARMFUL, ood_pvalue=0.001), evidence(ood_pvalue=0.5)]

    assert 1 == caught_by_gate_only(items, GATED, "balanced")


def test_panel_scores_are_there_for_withheld_units_too():
    """Labels are checked against them."""
    scores = panel_scores(
        [evidence(HARMFUL, SUSPECT), not_asked(("alpha",), Reason.INPUT_EMPTY)], policy(), "balanced", "harm"
    )

    assert [False, True] == [math.isnan(score) for score in scores]


def test_an_order_statistic_has_so_many_below_it():
    """Or fewer, where units tie."""
    import numpy as np

    values = np.array([3.0, 1.0, 2.0, 2.0, math.inf])

    assert [1.0, 2.0, 2.0, 3.0, math.inf] == [order_statistic(values, rank) for rank in range(5)]
