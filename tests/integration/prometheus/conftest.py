"""One Prometheus watches all services; what takes five minutes takes ten seconds."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .outages import CERTIFICATE, LOAD, MEMBER, WELL, Services
from .watching import Prometheus

FACTOR = 30


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Who watches the services, since before most of them got into trouble."""
    folder: Path = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        services = Services(stack, folder)
        prometheus = Prometheus(folder, services.targets, FACTOR)
        stack.callback(prometheus.stop)
        prometheus.eventually(lambda: prometheus.query(f'interlock:dissent:ratio_rate10m{{job="{WELL}"}}'))
        assert set().union(*map(prometheus.firing, (MEMBER, CERTIFICATE, LOAD))) == set()
        services.trouble()
        yield prometheus
