"""Hypothesis without a stopwatch: a busy machine is not a failing example. And the backends that the contract is run for."""

import pytest
from hypothesis import HealthCheck, settings

from .cases import CASES, Case

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="package", params=CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each backend in turn, loaded once."""
    loaded: Case = request.param(tmp_path_factory.mktemp("member"))
    return loaded
