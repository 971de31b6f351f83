"""The twin finds what the detector finds, and the simulation says what conservative mode costs and brings."""

import statistics

import numpy as np
import pytest
from interlock_lab.drift.simulate import (
    Design,
    delays,
    distance,
    divergences,
    drawn_baseline,
    false_latches,
    latched_at,
    mixture,
)
from interlock_server.assurance.drift import BLOCK_ITEMS, Baseline, DriftDetector, divergence

DESIGN = Design(statistics=1)


@pytest.mark.parametrize(
    ("share", "shift", "latches"), [(0.3, 4.0, True), (0.25, -3.0, True), (0.45, 1.5, True), (1.0, 0.2, False)]
)
def test_the_twin_latches_at_the_block_at_which_the_detector_does(share: float, shift: float, latches: bool):
    """Item by item, on the same values; or both do not."""
    chance = np.random.default_rng(4)
    known = drawn_baseline(DESIGN, chance)
    blocks = 60
    values = chance.normal(size=blocks * BLOCK_ITEMS) + shift * (chance.random(blocks * BLOCK_ITEMS) < share)
    detector, first = DriftDetector(Baseline({"margin": known}, 1.0), DESIGN.delta), None
    for value in values:
        detector.observe("", {"margin": float(value)})
        if first is None and detector.distances["margin"].lower_bound > DESIGN.limit:
            first = detector.items // BLOCK_ITEMS
    at_most = (values.reshape(blocks, BLOCK_ITEMS, 1) <= np.array(known.thresholds)).sum(axis=1).astype(float)

    assert latches is (first is not None)
    assert first == latched_at(at_most, known, DESIGN)


def test_divergences_are_those_of_the_detector():
    """Also where a share is 1."""
    p, q = np.array([0.3, 0.999, 1.0]), np.array([0.1, 0.5, 0.7])

    assert [divergence(*pair) for pair in zip(p, q, strict=True)] == pytest.approx(divergences(p, q).tolist())


@pytest.mark.parametrize(("share", "at"), [(0.0, 0.0), (0.105, 0.1)])
def test_nothing_latches_in_vain(share: float, at: float):
    """In four runs of a million conversations, ordinary or drifted by as much as is tolerated."""
    assert at == pytest.approx(distance(mixture(share, 4.0)), abs=0.001)
    assert 0 == false_latches(Design(), mixture(share, 4.0), 1_000_000, 4, seed=1)


@pytest.mark.parametrize("before", [0, 1_000_000])
def test_a_mixture_of_three_in_ten_is_found_within_two_thousand(before: int):
    """At the median, at once or after a million ordinary ones."""
    found = delays(Design(), mixture(0.3, 2.5), before, 10_000, 40, seed=2)

    assert statistics.median(found) <= 2_000
