"""Whether a nat of evidence is a nat."""

import numpy as np
import pytest
from decision.samples import evidence, policy
from interlock_lab.certify.dials import Set
from interlock_lab.certify.reliability import Reliability, margins_comparable, reliabilities, slope
from scipy.special import expit

from .samples import unit


def sample(true_slope: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Evidence, and harm as often as `true_slope` times the evidence says."""
    random = np.random.default_rng(4)
    llr = random.uniform(-3, 3, n)
    return llr, random.random(n) < expit(true_slope * llr)


@pytest.mark.parametrize("true_slope", [0.5, 1.0, 2.0])
def test_the_slope_is_found(true_slope: float):
    """Within its interval."""
    found, low, high = slope(*sample(true_slope))

    assert low < true_slope < high
    assert found == pytest.approx(true_slope, rel=0.1)


def test_the_interval_covers_as_often_as_it_says():
    """In 95 of 100 samples, or nearly."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        llr = random.uniform(-3, 3, 300)
        _, low, high = slope(llr, random.random(300) < expit(llr))
        held += low < 1 < high

    assert 180 <= held <= 199


def test_every_member_is_measured_on_clear_units():
    """Where there are enough near its threshold."""
    units = [unit(number, harmful=number % 2 == 0) for number in range(80)]
    said = [evidence(0.1 + 0.002 * number, 0.3 if number % 2 == 0 else 0.1) for number in range(80)]
    found = {item.member: item for item in reliabilities(Set(units, said), policy())}

    assert {"alpha", "beta"} == set(found)
    assert 80 == found["alpha"].n
    assert found["alpha"].slope is not None
    assert sum(each.n for each in found["alpha"].bins) == 80


def test_too_few_units_give_no_slope():
    """And what has none is not called calibrated."""
    (first, _) = reliabilities(Set([unit(1)], [evidence()]), policy())

    assert (None, False) == (first.slope, first.calibrated)


def test_margins_compare_only_when_every_member_is_calibrated():
    """Within a tenth."""
    good, bad = (Reliability("alpha", "harm", (), 99, slope) for slope in (1.09, 1.11))

    assert [True, False] == [margins_comparable(items) for items in ([good, good], [good, bad])]
