"""Which profile releases less: the answer holds for whatever evidence."""

from dataclasses import replace
from typing import Any

import pytest
from decision.samples import category_rule, evidence, member_rule, policy, profile
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.assurance.strictness import at_least_as_strict
from interlock_server.decision.decide import decide
from interlock_server.decision.panel_score import ScoreMap
from interlock_server.decision.policy import CategoryRule, Profile

RULES = st.builds(
    lambda weight, offset, clear: member_rule(weight=weight, offset=offset, clear_below=clear),
    *(st.sampled_from(values) for values in ((0.5, 1.0), (-3.0, -2.0), (-2.0, -1.0))),
)
CATEGORIES = st.builds(
    lambda alpha, beta, release: CategoryRule(release, 6.0, {"alpha": alpha, "beta": beta}),
    RULES,
    RULES,
    st.sampled_from((1.0, 2.0)),
)
PROFILES = st.builds(
    lambda rule, tolerance, alpha: Profile({"harm": rule}, tolerance, alpha),
    CATEGORIES,
    st.sampled_from((0.05, 0.2)),
    st.sampled_from((None, 0.01, 0.1)),
)
SCORES = st.sampled_from((0.01, 0.05, 0.1, 0.15, 0.2, 0.3))


@given(PROFILES, PROFILES, SCORES, SCORES, st.sampled_from((0.005, 0.02, 0.11, 0.5)))
def test_what_the_stricter_profile_releases_the_other_releases_too(
    one: Profile, other: Profile, alpha: float, beta: float, pvalue: float
):
    """For all profiles of which it is said."""
    both = replace(policy(), profiles={"one": one, "other": other}, default_profile="one")
    given_evidence = evidence(alpha, beta, ood_pvalue=pvalue)
    by_one, by_other = (decide(replace(given_evidence, profile=name), both) for name in ("one", "other"))

    if at_least_as_strict(one, other) and by_one.released:
        assert by_other.released


@given(PROFILES)
def test_a_profile_is_as_strict_as_itself(one: Profile):
    """Else nothing would ever be."""
    assert at_least_as_strict(one, one)


LOOSER: list[dict[str, Any]] = [
    {"tolerance": 0.01},
    {"ood_alpha": None},
    {"categories": {"harm": category_rule(release_below=2.5)}},
    {"categories": {"harm": category_rule("alpha", single_member_acknowledged=True)}},
    {"categories": {"other": category_rule()}},
    {
        "categories": {
            "harm": replace(category_rule(), members={"alpha": member_rule(weight=0.5), "beta": member_rule()})
        }
    },
    {
        "categories": {
            "harm": replace(category_rule(), members={"alpha": member_rule(offset=-2), "beta": member_rule()})
        }
    },
    {
        "categories": {
            "harm": replace(category_rule(), members={"alpha": member_rule(clear_below=0), "beta": member_rule()})
        }
    },
    {
        "categories": {
            "harm": replace(
                category_rule(),
                members={"alpha": member_rule(score_map=ScoreMap((-1, 1), (-2, 2))), "beta": member_rule()},
            )
        }
    },
]


@pytest.mark.parametrize("change", LOOSER)
def test_a_profile_that_may_be_looser_is_not_called_as_strict(change: dict[str, Any]):
    """Whatever makes it so."""
    usual = profile(ood_alpha=0.05)

    assert not at_least_as_strict(replace(usual, **change), usual)
