"""The distance from a baseline: bounds that hold, callers that cannot outweigh others, and what counts as one conversation."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from decision.samples import evidence, said
from hypothesis import example, given
from hypothesis import strategies as st
from interlock_server.assurance.drift import (
    BLOCK_ITEMS,
    WINDOWS_BLOCKS,
    Baseline,
    Conversations,
    DriftDetector,
    Places,
    baseline_error,
    divergence,
    lowest_mean,
    nats_needed,
    quantiles,
    statistics_of,
)
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from scipy.stats import binom

LIMIT, DELTA = 0.1, 0.01
CALLERS = 40
Draw = Callable[[random.Random], float]


def ordinary(chance: random.Random) -> float:
    return chance.gauss(0, 1)


def baseline(share: float = 0.05, items: int = 5_000, **names: Draw) -> Baseline:
    chance = random.Random(7)
    draws = names or {"margin": ordinary}
    found = {name: quantiles([draw(chance) for _ in range(items)]) for name, draw in draws.items()}
    return Baseline({name: one for name, one in found.items() if one}, share)


def bounds_after(items: int, draw: Draw, known: Baseline | None = None, caller: Callable[[int], str] = str) -> float:
    """The largest bound at any time on items of one statistic."""
    chance, largest = random.Random(11), 0.0
    detector = DriftDetector(known or baseline(), DELTA)
    for number in range(items):
        detector.observe(caller(number % CALLERS), {"margin": draw(chance)})
        largest = max(largest, *(distance.lower_bound for distance in detector.distances.values()))
    return largest


def mixed(share: float, shift: float) -> Draw:
    return lambda chance: chance.gauss(shift if chance.random() < share else 0, 1)


def test_ordinary_traffic_shows_no_distance():
    """Nothing near the limit, in 20,000 conversations."""
    assert bounds_after(20_000, ordinary) < 0.02


@pytest.mark.parametrize("shift", [4.0, -4.0])
def test_a_mixture_is_found_in_either_direction(shift: float):
    """30 % from elsewhere, within 2,000 conversations."""
    assert bounds_after(2_000, mixed(0.3, shift)) > LIMIT


def test_a_mixture_is_found_after_a_long_time_of_ordinary_traffic():
    """What was ordinary for long does not water down what is new."""
    detector, chance = DriftDetector(baseline(), DELTA), random.Random(3)
    for number in range(30_000):
        detector.observe(str(number % CALLERS), {"margin": ordinary(chance)})
    for number in range(2_000):
        detector.observe(str(number % CALLERS), {"margin": mixed(0.3, 4.0)(chance)})

    assert detector.distances["margin"].lower_bound > LIMIT


def test_the_bound_is_below_the_truth():
    """Of a shift by two deviations, whose distance is 0.683."""
    assert 0.55 < bounds_after(6_400, mixed(1.0, 2.0)) < 0.683


def test_a_caller_alone_cannot_latch():
    """Whatever it sends, and however much: it has a twentieth of the places."""
    everybody = bounds_after(8_000, mixed(1.0, 9.0))
    detector, chance = DriftDetector(baseline(), DELTA), random.Random(5)
    for number in range(60_000):
        hostile = number % 2 == 0
        detector.observe("hostile" if hostile else str(number % 50), {"margin": 9.0 if hostile else ordinary(chance)})

    assert everybody > 0.8
    assert detector.items > 10_000
    assert detector.distances["margin"].lower_bound < LIMIT / 2


def test_a_caller_has_no_more_than_its_share_of_a_block():
    """And others take the places that it cannot have."""
    places = Places(0.05)
    taken = sum(places.take("greedy") for _ in range(1_000))
    others = sum(places.take(str(number)) for number in range(BLOCK_ITEMS - taken))

    assert (BLOCK_ITEMS * 0.05, BLOCK_ITEMS) == (taken, taken + others)
    assert places.at_an_end
    assert places.take("greedy")


def test_a_conversation_without_a_value_counts_as_ordinary():
    """It is no evidence that anything has changed: here nine in ten have none."""
    detector = DriftDetector(baseline(), DELTA)
    for number in range(8_000):
        detector.observe(str(number), {} if number % 10 else {"margin": 9.0})

    assert 0 < detector.distances["margin"].lower_bound < 0.1


def test_a_statistic_of_few_values_is_no_obstacle():
    """Scores that are all the same, but for some that are not."""
    known = baseline(margin=lambda chance: 0.0 if chance.random() < 0.9 else 1.0)

    assert bounds_after(4_000, lambda chance: 0.0 if chance.random() < 0.9 else 1.0, known) < 0.02
    assert bounds_after(4_000, lambda chance: 0.0 if chance.random() < 0.5 else 1.0, known) > LIMIT


def test_values_beyond_all_that_was_seen_count():
    """Infinity is how a text is said to be unreadable."""
    assert bounds_after(2_000, lambda chance: math.inf if chance.random() < 0.3 else ordinary(chance)) > LIMIT


def test_a_larger_baseline_proves_more():
    """Its own error is taken off."""
    small, large = (bounds_after(4_000, mixed(0.3, 3.0), baseline(items=items)) for items in (1_000, 50_000))

    assert large > small + 0.02


@given(st.floats(0.01, 1.0), st.floats(1e-4, 5.0))
@example(1 - 2**-53, 1e-4)
def test_the_lowest_mean_is_where_the_divergence_says(mean: float, nats: float):
    """Or a thousandth below."""
    low = lowest_mean(mean, nats)

    assert 0 <= low <= mean
    assert divergence(mean, low) >= nats >= divergence(mean, min(mean, low + mean / 1_000))


@pytest.mark.parametrize(("items", "share", "delta"), [(200, 0.1, 0.01), (1_000, 0.5, 1e-4), (6_400, 0.02, 1e-6)])
def test_the_lowest_mean_errs_no_more_often_than_it_may(items: int, share: float, delta: float):
    """Exactly, from the binomial distribution: how often the true share is below it."""
    nats = math.log(1 / delta) / items
    wrong = sum(
        binom.pmf(count, items, share) for count in range(items + 1) if lowest_mean(count / items, nats) > share
    )

    assert 0 < wrong <= delta


def test_what_is_spent_on_all_blocks_is_no_more_than_delta():
    """The sum of what each block may err, as far as a sum goes and an integral from there."""
    tests = len(WINDOWS_BLOCKS) * 2 * 15
    spent = sum(tests * math.exp(-nats_needed(block, 15, DELTA)) for block in range(1, 200_000))
    beyond = DELTA / (2.10975 * math.log(200_000))

    assert 0.99 * DELTA < spent + beyond <= DELTA


def test_the_error_of_the_baseline_is_that_of_massart():
    """sqrt(ln(2 / delta) / 2n)."""
    assert baseline_error(5_000, 0.01) == pytest.approx(0.02302, abs=1e-5)


def test_quantiles_leave_out_what_is_no_number():
    """Texts that could not be read have a share, but no threshold."""
    found = quantiles([0.0] * 50 + [1.0] * 40 + [math.inf] * 10)

    assert found is not None
    assert ((0.0, 1.0), (0.5, 0.9), 100) == (found.thresholds, found.shares, found.items)
    assert quantiles([math.inf] * 5) is None


def test_the_first_of_a_conversation_is_new():
    """Until so many others came that it is forgotten."""
    conversations = Conversations(2)

    assert [True, False, True, False] == [conversations.is_new(key) for key in "aabb"]
    assert [True, True] == [conversations.is_new(key) for key in "ca"]


MEMBERS = ("alpha", "beta")


def test_the_statistics_of_an_exchange():
    """The largest score of each member that decides, the margin, and the p-value where there is one."""
    found = statistics_of(evidence(0.2, 0.3, said("shadow", 0.9), ood_pvalue=0.5), 1.5, MEMBERS)

    assert {"member:alpha": 0.2, "member:beta": 0.3, "margin": 1.5, "ood_pvalue": 0.5} == found
    assert {"member:alpha": 0.01, "member:beta": 0.01} == statistics_of(evidence(), None, MEMBERS)


@pytest.mark.parametrize(
    "defect",
    [
        evidence(said("alpha", 0.1, missing=MissingCause.TIMED_OUT)),
        evidence(said("alpha", math.nan)),
        evidence(said("alpha", 0.1, scores={})),
        evidence(said("gamma", 0.1)),
        evidence(alarms=(Reason.DEADLINE,)),
        evidence(alarms=(Reason.INPUT_UNREADABLE, Reason.AUDIT_FAILED)),
    ],
)
def test_an_outage_is_no_drift(defect: Any):
    """What is missing tells about the service."""
    assert statistics_of(defect, 1.0, MEMBERS) is None


@pytest.mark.parametrize("reason", [Reason.INPUT_UNREADABLE, Reason.OUT_OF_DISTRIBUTION])
def test_a_text_that_cannot_be_read_is_as_far_out_as_can_be(reason: Reason):
    """In every statistic."""
    found = statistics_of(evidence(alarms=(reason,)), None, MEMBERS)

    assert {
        "member:alpha": math.inf, "member:beta": math.inf, "margin": -math.inf, "ood_pvalue": -math.inf,
    } == found  # fmt: skip
