"""Verdicts on claims: what an interval must exclude, what impostors are for, and how many claims share the confidence."""

import pytest
from interlock_lab.story.judge import confidence_of, judged, measured, recorded, untested
from interlock_server.bundle.stories import ClaimState

from .samples import claim

FAILING = {"keyword": [False] * 100, "shuffled": [False] * 100}
OF = "sha256:" + "0" * 64


def state(right: int, wrong: int, impostors: dict[str, list[bool]] = FAILING) -> ClaimState:
    return judged("m", claim(), [True] * right + [False] * wrong, impostors, 0.99).state


def test_a_share_far_above_the_criterion_is_supported():
    """When both impostors fail."""
    assert ClaimState.SUPPORTED is state(90, 10)


def test_a_share_that_excludes_the_criterion_is_refuted():
    """Its whole interval lies below."""
    assert ClaimState.REFUTED is state(50, 50)


def test_a_share_below_the_criterion_that_does_not_exclude_it_is_not_refuted():
    """Chance alone must not refute: 73 of 100 may well come of a true 75 %."""
    assert ClaimState.SUPPORTED is state(73, 27)


def test_no_cases_are_no_test():
    """Rather than support."""
    assert ClaimState.UNTESTED is state(0, 0)


@pytest.mark.parametrize("passing", ["keyword", "shuffled"])
def test_an_impostor_that_passes_voids_the_claim(passing: str):
    """The check would not have noticed a model without the mechanism."""
    assert ClaimState.VOID is state(90, 10, {**FAILING, passing: [True] * 90 + [False] * 10})


def test_an_impostor_that_nobody_asked_to_fail_voids_nothing():
    """A list of keywords cannot be diluted, for one."""
    result = judged("m", claim(impostors=["shuffled"]), [True] * 90, {**FAILING, "keyword": [True] * 90}, 0.99)

    assert ClaimState.SUPPORTED is result.state
    assert [("keyword", False), ("shuffled", True)] == [(item.name, item.refuted) for item in result.impostors]


def test_an_impostor_that_was_not_tried_voids_the_claim():
    """Nothing is known of what the check would notice."""
    assert ClaimState.VOID is state(90, 10, {"shuffled": [False] * 100})


def test_a_refuted_member_stays_refuted_where_an_impostor_passes():
    """A weak check that is failed all the same is no excuse."""
    assert ClaimState.REFUTED is state(50, 50, {**FAILING, "keyword": [True] * 100})


def test_more_claims_need_more_to_refute_one():
    """All intervals hold together at 99 %."""
    one, many = (measured(65, 100, confidence_of(claims)) for claims in (1, 25))

    assert (0.99, 0.9996) == (confidence_of(1), pytest.approx(confidence_of(25)))
    assert (True, True) == (many.low < one.low, one.high < many.high)


def test_an_interval_is_exact():
    """Of 0 in 100 it is known that the share is below 1 - (0.01 / 2) ** (1 / 100)."""
    assert (0.0, pytest.approx(1 - 0.005**0.01)) == (measured(0, 100, 0.99).low, measured(0, 100, 0.99).high)


@pytest.mark.parametrize(("hits", "expected"), [(998, ClaimState.RECORDED), (600, ClaimState.REFUTED)])
def test_recorded_figures_can_refute_and_never_support(hits: int, expected: ClaimState):
    """No impostor was put through that measurement."""
    parameters = {"n": 1_000, "hits": hits, "date": "2026-11-21"}
    result = recorded("m", claim(check="recorded", parameters=parameters, of=OF), 0.99)

    assert (expected, True) == (result.state, "recorded on 2026-11-21" in result.detail)


def test_what_was_not_looked_at_says_why():
    """In place of figures."""
    assert (ClaimState.UNTESTED, "too dear") == (
        untested("m", claim(), "too dear").state,
        untested("m", claim(), "too dear").detail,
    )


def test_a_detail_has_figures_criterion_and_impostors():
    """It is all that GetEnsemble shows."""
    result = judged("m", claim(), [True] * 90 + [False] * 10, FAILING, 0.99)

    assert result.detail.startswith(
        "90.0% of 100 (79.8% to 96.2%), not refuted below 75%, at 99.000%; keyword impostor 0.0%"
    )
