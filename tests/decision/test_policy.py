"""A Policy that exists can both release and withhold: what is refused on construction, and for which field."""

import math
from typing import Any

import pytest
from interlock_server.decision.panel_score import VALUE_MAX
from interlock_server.decision.policy import CategoryRule, Limits, Policy, PolicyError
from interlock_server.decision.verdict import Action, Reason

from .samples import KINDS, category_rule, member_rule, policy, profile

HARM = "profiles.balanced.categories.harm"
TWINS = {"alpha": "linear", "beta": "linear"}


def alpha(**changes: Any) -> CategoryRule:
    """A category with one value of member alpha changed."""
    return category_rule(members={"alpha": member_rule(**changes), "beta": member_rule()})


def refused(**changes: Any) -> str:
    """The field that a policy is refused for."""
    with pytest.raises(PolicyError) as caught:
        policy(**changes)
    return caught.value.field


def test_the_sample_is_accepted():
    """The policy that every other test changes in one place is a good one."""
    assert "balanced" == policy().default_profile


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("default_profile", {"default_profile": "strict"}),
        ("default_profile", {"profiles": {}}),
        ("latency_budget_ms", {"latency_budget_ms": 0}),
        ("limits.completion_bytes_max", {"limits": Limits(completion_bytes_max=0)}),
        ("limits.prompt_bytes_max", {"limits": Limits(prompt_bytes_max=0)}),
        ("actions.HARMFUL", {"actions": {Reason.HARMFUL: Action.NONE}}),
        ("profiles.balanced.categories", {"profiles": {"balanced": profile(categories={})}}),
        ("profiles.balanced.tolerance", {"tolerance": -0.01}),
        ("profiles.balanced.tolerance", {"tolerance": math.nan}),
        ("profiles.balanced.ood_alpha", {"ood_alpha": 0.0}),
        ("profiles.balanced.ood_alpha", {"ood_alpha": 1.0}),
        ("profiles.balanced.ood_alpha", {"ood_alpha": math.nan}),
    ],
)
def test_an_impossible_value_is_refused(field: str, changes: dict[str, Any]):
    """The error names the field."""
    assert field == refused(**changes)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2 * VALUE_MAX])
@pytest.mark.parametrize("name", ["weight", "offset", "clear_below"])
def test_a_member_needs_real_numbers(name: str, value: float):
    """No value of a member may be infinite, or large enough to make a sum so."""
    assert f"{HARM}.members.alpha.{name}" == refused(rule=alpha(**{name: value}))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2 * VALUE_MAX])
@pytest.mark.parametrize("name", ["release_below", "harmful_at"])
def test_a_dial_needs_a_real_number(name: str, value: float):
    """Neither level of the panel may be infinite."""
    assert f"{HARM}.{name}" == refused(rule=category_rule(**{name: value}))


def test_a_weight_is_not_negative():
    """A member that lowers the panel's score would make it less careful."""
    assert f"{HARM}.members.alpha.weight" == refused(rule=alpha(weight=-1.0))


def test_some_weight_is_needed():
    """A panel in which nobody counts has a dial that does nothing."""
    weightless = {name: member_rule(weight=0.0) for name in ("alpha", "beta")}

    assert f"{HARM}.members" == refused(rule=category_rule(members=weightless))


def test_the_levels_are_in_order():
    """What is harmful is above what is released."""
    assert f"{HARM}.release_below" == refused(rule=category_rule(release_below=7.0))


@pytest.mark.parametrize("release_below", [-1.0, 0.0, 0.05])
def test_a_dial_within_the_tolerance_would_never_release(release_below: float):
    """A panel score is 0 or more, so such a dial is always missed."""
    assert f"{HARM}.release_below" == refused(rule=category_rule(release_below=release_below))


def test_a_dial_below_the_lowest_panel_score_would_never_release():
    """An offset below all evidence gives every text some panel score, which the dial must leave room for."""
    rule = category_rule(members={"alpha": member_rule(offset=-20.0), "beta": member_rule()})

    assert f"{HARM}.release_below" == refused(rule=rule)


def test_a_gate_that_nothing_passes_is_refused():
    """The largest p-value must be above the limit by more than the tolerance."""
    assert "profiles.balanced.ood_alpha" == refused(ood_alpha=0.9, tolerance=0.5)


@pytest.mark.parametrize("clear_below", [-20.0, -13.8155, 13.9, 20.0])
def test_a_threshold_that_nothing_or_everything_meets_is_refused(clear_below: float):
    """Evidence runs from -13.82 to 13.82 nats, and the tolerance counts."""
    assert f"{HARM}.members.alpha.clear_below" == refused(rule=alpha(clear_below=clear_below))


def test_two_members_of_one_kind_are_no_ensemble():
    """What fools one fools the other."""
    assert f"{HARM}.members" == refused(kinds=TWINS)


def test_one_member_is_no_ensemble():
    """A single member must be acknowledged."""
    assert f"{HARM}.members" == refused(rule=category_rule("alpha"))


@pytest.mark.parametrize("rule", [category_rule("alpha", single_member_acknowledged=True)])
def test_a_single_member_can_be_acknowledged(rule: CategoryRule):
    """Whoever has only one member can say so."""
    assert ("alpha",) == policy(rule).required_members


def test_no_member_cannot_be_acknowledged():
    """An empty panel is refused, whatever is said about it."""
    assert f"{HARM}.members" == refused(rule=category_rule(members={}, single_member_acknowledged=True))


def test_an_unknown_member_is_refused():
    """A policy cannot require whom nobody can ask."""
    assert f"{HARM}.members.omega" == refused(rule=category_rule("alpha", "beta", "omega"))


def test_a_member_has_one_role():
    """Required and shadow at once is neither."""
    assert f"{HARM}.members.beta" == refused(shadow=("beta",))


def test_the_message_names_the_field_first():
    """Whoever reads the error finds the line."""
    with pytest.raises(PolicyError, match=r"^latency_budget_ms: must be at least 1$"):
        policy(latency_budget_ms=0)


def test_members_are_the_required_ones_and_the_shadows():
    """Who is asked is what the policy says, sorted and once each."""
    shadowed = Policy("test", {"balanced": profile()}, "balanced", KINDS, shadow=("gamma", "gamma"))

    assert (("alpha", "beta"), ("alpha", "beta", "gamma")) == (shadowed.required_members, shadowed.members)
