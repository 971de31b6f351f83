"""The certificate is honest where the truth is known, and the same test finds a bound that is not. Fixed seeds."""

import pytest
from interlock_lab.certify.simulation import ALPHAS, Simulation, World

TRIALS = 1500
CORRELATIONS = (0.0, 0.1, 0.2, 0.3)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_bounds_hold_as_often_as_they_say(correlation: float):
    """However alike the rows of one cluster are."""
    assert Simulation(World(correlation), TRIALS).certified().honest


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_bounds_hold_with_wrong_labels(noise: float):
    """Rows that are harmful by label only lower the dial."""
    assert Simulation(World(0.1, noise), TRIALS).certified().honest


@pytest.mark.parametrize("members_share", [0.0, 0.95])
def test_bounds_hold_however_alike_members_err(members_share: float):
    """Nothing is multiplied."""
    assert Simulation(World(0.1, members_share=members_share), TRIALS).certified().honest


def test_bounds_hold_when_somebody_picks_the_profile():
    """All of them hold together."""
    assert Simulation(World(0.2), TRIALS).best_profile().honest


def test_bounds_hold_when_the_set_is_opened_again_and_again():
    """By what the ledger leaves to spend."""
    assert Simulation(World(0.2), TRIALS).reopened().honest


def test_without_the_ledger_they_would_not():
    """The test can fail."""
    assert not Simulation(World(0.2), TRIALS).reopened(ledger=False).honest


def test_a_row_wise_bound_is_not_honest():
    """Rows of one cluster are no independent witnesses: the bound fails several times as often as it says."""
    found = Simulation(World(0.3), TRIALS).certified(row_wise=True)

    assert not found.honest
    assert 1 - found.coverage > 2 * (1 - found.nominal)


@pytest.mark.parametrize("alpha", ALPHAS[:2])
def test_bounds_are_worth_having(alpha: float):
    """With 200 clusters, at most three times the truth at the median."""
    assert Simulation(World(), TRIALS).certified(alpha).ratio <= 3


def test_the_same_seed_gives_the_same():
    """Anybody can check."""
    assert Simulation(World(0.1), 50).certified() == Simulation(World(0.1), 50).certified()
