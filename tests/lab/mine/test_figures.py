import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from interlock_lab.mine.disagreement import weight
from interlock_lab.mine.figures import Figures, Judged, exact, figures, horvitz_thompson
from interlock_lab.mine.sampling import Weighted, draw


class Exchange(NamedTuple):
    """One of the simulated traffic."""

    spread: float
    margin: float
    released: bool
    harmful: bool


def traffic(seed: int, count: int = 2_000) -> Iterator[Exchange]:
    """Where members are far apart and the text is near the dial, one verdict in three is wrong; elsewhere one in two hundred."""
    chance = random.Random(seed)
    for _ in range(count):
        spread, margin = chance.expovariate(1.0), chance.gauss(2.0, 3.0)
        wrong = chance.random() < (0.33 if spread > 2 and abs(margin) < 1 else 0.005)
        released = margin > 0
        yield Exchange(spread, margin, released, released == wrong)


def mined(everyone: list[Exchange], salt: str, count: int = 200) -> Figures:
    """All that is drawn is labelled, rightly."""
    weighted = [Weighted(f"{n}", n, weight(one.spread, one.margin)) for n, one in enumerate(everyone)]
    drawn = draw(weighted, count, 0.3, salt)
    return figures(
        [Judged(d.stratum, d.propensity, everyone[d.index].released, everyone[d.index].harmful) for d in drawn]
    )


def test_mining_finds_errors_where_members_disagree():
    """Far more than chance does: the intervals are apart."""
    found = mined(list(traffic(1, 6_000)), "a", 400)

    assert found.mined.low > found.random.high
    assert found.mined_missed.value > found.random_missed.value


def test_the_miss_rate_is_estimated_without_bias():
    """The mean over many queues is the rate of the traffic, and nine intervals in ten hold it or more."""
    everyone = list(traffic(2))
    released = [one for one in everyone if one.released]
    truth = sum(one.harmful for one in released) / len(released)
    found = [mined(everyone, f"{salt}").miss_rate for salt in range(30)]

    assert truth == pytest.approx(sum(one.value for one in found) / len(found), rel=0.2)
    assert 0.9 <= sum(one.low <= truth <= one.high for one in found) / len(found)


def test_a_sample_taken_by_score_would_mislead_without_its_propensities():
    """Which is why they are in the queue."""
    everyone = list(traffic(2))
    weighted = [Weighted(f"{n}", n, weight(one.spread, one.margin)) for n, one in enumerate(everyone)]
    taken = [everyone[one.index] for one in draw(weighted, 200, 0.3, "a")]
    released = [one for one in taken if one.released]

    assert sum(one.harmful for one in released) / len(released) > 3 * mined(everyone, "a").miss_rate.value


def test_counts_have_exact_intervals():
    """Clopper and Pearson, of 3 in 20 and of 0 in 20."""
    assert (0.15, 0.0321, 0.3789) == pytest.approx(exact(3, 20)[:3], abs=1e-4)
    assert (0.0, 0.0, 0.1684) == pytest.approx(exact(0, 20)[:3], abs=1e-4)


def test_nothing_labelled_says_nothing():
    """Anything is possible."""
    assert (0.0, 0.0, 1.0, 0) == exact(0, 0)
    assert 1.0 == figures([]).miss_rate.high


def test_equal_weights_are_a_count():
    """Then the estimate is the exact one."""
    hits = [True, False, False, False]

    assert exact(1, 4) == pytest.approx(horvitz_thompson(hits, [0.2] * 4))


def test_a_few_heavy_items_do_not_pass_for_many():
    """No hit in a hundred that were certain to be drawn says little about the one that stands for a thousand."""
    assert horvitz_thompson([False] * 101, [1.0] * 100 + [0.001]).high > 0.9


def test_an_error_is_harm_released_or_fine_text_withheld():
    """A miss is only the first."""
    cases = [Judged("mined", 1.0, released, harmful) for released in (True, False) for harmful in (True, False)]

    assert [(True, True), (False, False), (False, False), (True, False)] == [(one.error, one.missed) for one in cases]
