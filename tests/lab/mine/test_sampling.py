import numpy as np
import pytest
from interlock_lab.mine.sampling import Weighted, draw, probabilities

EVERYONE = [
    Weighted(f"v{number}", number // 3 if number < 30 else number, 0.2 + (number % 7) ** 2) for number in range(60)
]
"""Ten groups of three, and thirty alone."""


def drawn_often(times: int, **options):
    return [draw(EVERYONE, 12, 0.25, f"{salt}") for salt in range(times)]


def test_probabilities_follow_the_weights_up_to_one():
    """Their sum is as asked."""
    found = probabilities(np.array([100.0, 4.0, 2.0, 1.0, 1.0]), 3.0)

    assert [1.0, 1.0, 0.5, 0.25, 0.25] == pytest.approx(list(found))


def test_where_all_fit_all_are_taken():
    """There are no others."""
    assert [1.0, 1.0] == list(probabilities(np.array([3.0, 1.0]), 5.0))


def test_each_is_drawn_as_often_as_its_propensity_says():
    """Over many seeds, within five standard errors: in either stratum, alone or in a group."""
    times = 800
    counts, propensities = np.zeros(len(EVERYONE)), np.full(len(EVERYONE), np.nan)
    for drawn in drawn_often(times):
        for one in drawn:
            counts[one.index] += 1
            propensities[one.index] = one.propensity
    errors = np.sqrt(propensities * (1 - propensities) / times)

    assert np.all(np.abs(counts / times - propensities) <= 5 * errors)
    assert 12 == pytest.approx(propensities.sum())


def test_totals_by_propensity_are_unbiased():
    """What every item stands for adds up to the whole, on average."""
    totals = [sum(1 / one.propensity for one in drawn) for drawn in drawn_often(800)]

    assert len(EVERYONE) == pytest.approx(np.mean(totals), abs=4 * np.std(totals) / np.sqrt(len(totals)))


def test_no_group_is_drawn_twice():
    """Whatever the stratum."""
    for drawn in drawn_often(100):
        groups = [EVERYONE[one.index].group for one in drawn]
        assert len(groups) == len(set(groups))


def test_everything_at_random_is_a_simple_sample():
    """Then nothing is mined."""
    drawn = [one for salt in range(50) for one in draw(EVERYONE, 12, 1.0, f"{salt}")]

    assert {"random"} == {one.stratum for one in drawn}


def test_the_same_log_gives_the_same_queue():
    """Another seed gives another one."""
    assert draw(EVERYONE, 12, 0.25, "a") == draw(EVERYONE, 12, 0.25, "a") != draw(EVERYONE, 12, 0.25, "b")


def test_the_order_gives_nothing_away():
    """The first may be of either stratum, and need not be the likeliest."""
    drawn = drawn_often(60)

    assert {"mined", "random"} == {one[0].stratum for one in drawn}
    assert {True, False} == {one[0].propensity == max(other.propensity for other in one) for one in drawn}


def test_of_nobody_nobody_is_drawn():
    """An empty log is no error."""
    assert [] == draw([], 10, 0.2, "")
