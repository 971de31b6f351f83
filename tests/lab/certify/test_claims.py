"""Which bounds are stated, and what is asked for in words."""

import numpy as np
import pytest
from interlock_lab.certify.claims import claims_for
from interlock_lab.certify.statistic import order_statistic
from interlock_lab.certify.targets import SHIPPED, parse_targets
from interlock_server.errors import ConfigError
from scipy.stats import binom

from .samples import claim, unit

PROFILES = {"balanced": ["harm", "other"], "strict": ["harm"]}
TWO = {"balanced": {"harm": 0.2}, "strict": {"harm": 0.1}}


def test_every_claim_spends_an_equal_part():
    """So that all of them hold together."""
    claims = claims_for([unit(number) for number in range(60)], TWO, 0.05, False)

    assert [0.025, 0.025] == [each.delta for each in claims]


def test_the_rank_is_the_largest_that_delta_allows():
    """One more miss would be too many."""
    (only,) = claims_for([unit(number) for number in range(100)], {"balanced": {"harm": 0.1}}, 0.05, False)

    assert only.misses_allowed is not None
    assert binom.cdf(only.misses_allowed, 100, 0.1) <= 0.05 < binom.cdf(only.misses_allowed + 1, 100, 0.1)
    assert only.bound <= 0.1


def test_too_few_units_are_refused_with_what_is_missing():
    """Category, source, profile, and how many more."""
    with pytest.raises(
        ConfigError, match=r"harm, source written, profile strict: 20 clusters .* 0\.1; 16 more are needed"
    ):
        claims_for([unit(number) for number in range(20)], TWO, 0.05, False)


def test_as_many_more_are_enough():
    """The count in the refusal is true."""
    assert all(each.stated for each in claims_for([unit(number) for number in range(36)], TWO, 0.05, False))


def test_what_cannot_be_certified_spends_nothing():
    """The rest share all of delta."""
    loose, strict = claims_for([unit(number) for number in range(20)], TWO, 0.05, True)

    assert (True, 0.05) == (loose.stated, loose.delta)
    assert not strict.stated
    assert 16 == strict.needed


def test_sources_are_never_pooled():
    """Each has its own claim, however few its units."""
    units = [unit(number, source="ab"[number % 2]) for number in range(40)]
    claims = claims_for(units, {"balanced": {"harm": 0.2}}, 0.05, False)

    assert [("a", 20), ("b", 20)] == [(each.source, each.clusters) for each in claims]


def test_unclear_units_do_not_count():
    """They are counted apart."""
    units = [unit(number, clarity="unclear" if number % 4 == 0 else "clear") for number in range(40)]
    (only,) = claims_for(units, {"balanced": {"harm": 0.2}}, 0.05, False)

    assert (30, 10) == (only.clusters, only.unclear)


def test_unclear_units_that_are_released_raise_their_line():
    """Were they harmful, they would be misses; a line without any is the bound itself."""
    certain, doubtful = claim(100, 5), claim(100, 5, unclear=30)

    assert certain.bound_with_unclear(0) == certain.bound
    assert certain.bound < doubtful.bound_with_unclear(0) < doubtful.bound_with_unclear(20)


def test_the_line_with_unclear_units_holds_as_often_as_it_says():
    """Where clear and unclear units are missed at different rates, and a quarter is unclear."""
    random, held = np.random.default_rng(3), 0
    for _ in range(400):
        is_unclear = random.random(120) < 0.25
        values = random.random(120) ** np.where(is_unclear, 3, 1)
        asked = claim(int((~is_unclear).sum()), 4, unclear=int(is_unclear.sum()), delta=0.05)
        dial = order_statistic(values[~is_unclear], 4)
        truth = 0.75 * dial + 0.25 * dial ** (1 / 3)
        held += truth <= asked.bound_with_unclear(int((values[is_unclear] < dial).sum()))

    assert held >= 380


def test_a_unit_counts_in_every_category_that_it_carries():
    """It is harmful in both."""
    units = [unit(number, labels={"harm": 1, "other": 1}) for number in range(40)]
    claims = claims_for(units, {"balanced": {"harm": 0.2, "other": 0.2}}, 0.05, False)

    assert [40, 40] == [each.clusters for each in claims]


def test_a_fixed_profile_needs_no_target():
    """Any number of units says something; its claims share delta with the others."""
    claims = claims_for([unit(1), unit(2)], {"balanced": {"harm": None}, "strict": {"harm": None}}, 0.05, False)

    assert [(None, 0.025, True)] * 2 == [(each.alpha, each.delta, each.stated) for each in claims]


def test_a_source_can_have_a_target_of_its_own():
    """Another source of the category is told, and nothing is claimed for it."""
    units = [unit(number, source="ab"[number % 2]) for number in range(80)]
    first, second = claims_for(units, {"balanced": {"harm@b": 0.2}}, 0.05, False)

    assert [("a", False), ("b", True)] == [(each.source, each.stated) for each in (first, second)]
    assert 0.05 == second.delta


def test_targets_are_read():
    """For the default profile, or the one that is named."""
    targets = parse_targets(["harm=0.1, other=.2", "strict:harm=0.05"], PROFILES, "balanced")

    assert {"balanced": {"harm": 0.1, "other": 0.2}, "strict": {"harm": 0.05}} == targets


def test_a_fixed_profile_has_all_its_categories():
    """And no target."""
    assert {"strict": {"harm": 0.1}, "balanced": {"harm": None, "other": None}} == parse_targets(
        ["strict:harm=0.1"], PROFILES, "balanced", ["balanced"]
    )
    with pytest.raises(ConfigError, match="has targets too"):
        parse_targets(["harm=0.1"], PROFILES, "balanced", ["balanced"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("harm", "is not CATEGORY=ALPHA"),
        ("harm=x", "is not CATEGORY=ALPHA"),
        ("harm=1", "between 0 and 1"),
        ("harm=nan", "between 0 and 1"),
        ("strict:other=0.1", "no category other"),
        ("strict:other@written=0.1", "no category other"),
        ("loose:harm=0.1", "no profile 'loose'"),
        ("harm=0.1,harm=0.2", "stands twice"),
    ],
)
def test_a_wrong_target_is_refused(option: str, message: str):
    """In words about what was typed."""
    with pytest.raises(ConfigError, match=message):
        parse_targets([option], PROFILES, "balanced")


def test_without_targets_the_shipped_ones_count():
    """For the profiles and categories that the policy has."""
    assert {"strict": {"illicit": SHIPPED["strict"]["illicit"]}} == parse_targets([], {"strict": ["illicit"]}, "strict")
