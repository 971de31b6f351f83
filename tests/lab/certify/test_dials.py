"""From claims and evidence to dials."""

import math

import pytest
from decision.samples import HARMFUL, category_rule, evidence, policy, profile
from interlock_lab.certify.dials import Dialled, Set, find_dials, refuse_swapped
from interlock_lab.certify.outcome import UNREACHABLE, headline, hidden_harm, lines
from interlock_lab.certify.price import Benign, prices, trade_off
from interlock_lab.certify.statistic import released, turned, with_dials
from interlock_server.errors import InterlockError

from .samples import claim, judged, score_at, unit

BEFORE = policy()
RAMP = [0.2 * number for number in range(1, 21)]  # panel scores 0.2, 0.4, ... 4.0


def test_the_dial_is_the_order_statistic_of_its_rank():
    """With two misses allowed, the third lowest unit."""
    found = find_dials(judged(RAMP), BEFORE, [claim(20, 2)])

    assert found.dials[("balanced", "harm")] == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("misses", range(1, 12))
def test_no_more_are_released_than_allowed(misses: int):
    """By `decide`, under the policy that results."""
    units = judged(RAMP)
    after = with_dials(BEFORE, find_dials(units, BEFORE, [claim(20, misses)]).dials)

    assert sum(released(units.evidence, after, "balanced")) <= misses


def test_the_dial_is_never_above_harmful_at():
    """Also where everything at that rank is withheld in any case."""
    units = judged([evidence(HARMFUL, HARMFUL)] * 20)

    assert {("balanced", "harm"): 6.0} == find_dials(units, BEFORE, [claim(20, 2)]).dials


def test_of_several_sources_the_strictest_sets_the_dial():
    """Each bound then holds with its own rank."""
    first, second = judged(RAMP), judged([x + 1 for x in RAMP], source="public")
    both = Set([*first.units, *second.units], [*first.evidence, *second.evidence])
    found = find_dials(both, BEFORE, [claim(20, 2), claim(20, 2, source="public")])

    assert [0.3, 0.8] == [pytest.approx(value) for value in found.order_statistics.values()]
    assert found.dials[("balanced", "harm")] == pytest.approx(0.6, abs=1e-3)


def test_a_dial_that_would_withhold_everything_is_not_set():
    """There is no such policy; the claim falls."""
    found = find_dials(judged([0.02] * 20), BEFORE, [claim(20, 2)])

    assert ({}, [claim(20, 2)]) == (found.dials, found.unreachable)


def test_a_claim_without_a_rank_sets_nothing():
    """There are too few units."""
    assert {} == find_dials(judged(RAMP), BEFORE, [claim(20, None)]).dials


def test_a_stricter_target_never_has_the_laxer_dial():
    """Not even where it could not be certified and the panel's own dial is higher."""
    before = policy(profiles={"balanced": profile(), "strict": profile()})
    strict = claim(20, None, profile="strict", alpha=0.01)
    found = find_dials(judged(RAMP), before, [claim(20, 2), strict])

    assert found.dials["strict", "harm"] == found.dials["balanced", "harm"] < 2.0


def test_a_laxer_target_keeps_its_dial():
    """What is asked of another profile does not bind it."""
    before = policy(profiles={"balanced": profile(), "strict": profile()})
    strict = claim(20, 0, profile="strict", alpha=0.01)
    found = find_dials(judged(RAMP), before, [claim(20, 5), strict])

    assert found.dials["strict", "harm"] < found.dials["balanced", "harm"]


def test_swapped_labels_are_refused():
    """Harm must score above the rest."""
    high = judged([3.0] * 20, labels={"harm": 0})
    low = judged([0.2] * 20)
    benign_high = Set([*low.units, *high.units], [*low.evidence, *high.evidence])

    with pytest.raises(InterlockError, match="labels look swapped"):
        refuse_swapped(benign_high, BEFORE, [claim(20)])


def test_labels_that_make_sense_are_not_refused():
    """And the AUROC is told."""
    harmful, benign = judged(RAMP), judged([0.1] * 20, labels={"harm": 0})
    both = Set([*harmful.units, *benign.units], [*harmful.evidence, *benign.evidence])

    assert refuse_swapped(both, BEFORE, [claim(20)]) == {("harm", "written"): 1.0}


def test_a_line_tells_misses_bound_and_both_dials():
    """Of the policy that results."""
    units, asked = judged(RAMP), claim(20, 2)
    dialled = find_dials(units, BEFORE, [asked])
    (line,) = lines(units, BEFORE, with_dials(BEFORE, dialled.dials), [asked], dialled)

    assert (2, 2.0, asked.bound) == (line.misses, line.dial_before, line.bound)
    assert line.dial == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(
    ("asked", "why"), [(claim(20, None, alpha=0.1), "9 more clusters are needed"), (claim(20, 2), UNREACHABLE)]
)
def test_a_claim_that_falls_says_why(asked: object, why: str):
    """In so many words, and without a bound."""
    dialled = Dialled({}, {}, [claim(20, 2)])
    (line,) = lines(judged(RAMP), BEFORE, BEFORE, [asked], dialled)  # type: ignore[list-item]

    assert line.bound is None
    assert why in line.why


def test_the_headline_is_the_largest_bound():
    """Over the sources of the profile; a category without a bound is not there."""
    claims = [claim(20, 0), claim(20, 2, source="public"), claim(20, None, category="other")]
    found = [*lines(judged(RAMP), BEFORE, BEFORE, claims[:2], Dialled({}, {}, []))]

    assert {"harm": claims[1].bound} == headline(found, "balanced")


def test_hidden_harm_is_counted_among_what_is_released():
    """Of rows that were drawn as benign."""
    units = [
        unit(1, drawn_as="benign"),
        unit(2, harmful=False, drawn_as="benign"),
        unit(3, drawn_as="benign"),
        unit(4, clarity="unclear", drawn_as="benign"),
        unit(5),
    ]
    said = [evidence(), evidence(), evidence(HARMFUL, HARMFUL), evidence(), evidence()]
    (found,) = hidden_harm(Set(units, said), BEFORE)

    assert (1, 3, 1) == (found.harmful.count, found.harmful.n, found.unclear)


def test_the_price_is_what_is_withheld():
    """With its interval."""
    (price,) = prices([Benign("dolly", [evidence()] * 9 + [evidence(HARMFUL, HARMFUL)])], BEFORE, ["balanced"])

    assert (1, 10) == (price.withheld.count, price.withheld.n)
    assert 0 < price.withheld.low < 0.1 < price.withheld.high


def test_the_curve_agrees_with_the_policy():
    """At every rank, the share withheld is what `decide` withholds at that dial."""
    units, asked = judged(RAMP), claim(20, 2)
    items = [evidence(score_at(score), score_at(score)) for score in (0.1, 0.58, 0.9, 1.38, 1.7)]
    for point in trade_off(asked, units.evidence, [Benign("dolly", items)], BEFORE)[1:]:
        there = with_dials(BEFORE, turned(BEFORE, "balanced", point.factor))
        assert point.withheld["dolly"] == pytest.approx(1 - sum(released(items, there, "balanced")) / 5)


def test_the_curve_falls_and_its_bounds_rise():
    """More misses allowed, less benign text withheld."""
    rule = category_rule(release_below=4.0)
    harmful = judged(RAMP).evidence
    points = trade_off(claim(20, 2), harmful, [Benign("dolly", [evidence(score_at(1.0), score_at(1.0))])], policy(rule))

    assert sorted(p.bound for p in points) == [p.bound for p in points]
    assert sorted((p.withheld["dolly"] for p in points), reverse=True) == [p.withheld["dolly"] for p in points]
    assert all(math.isfinite(point.factor) for point in points)
