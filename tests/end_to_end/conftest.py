"""Servers: one that tests share and leave as they found it, and as many of their own as they ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import Server

StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is started once."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server.wait_ready()
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared server; its members are healed after the test."""
    yield shared_server
    shared_server.heal()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers with other settings, and ends them with the test."""
    started: list[Server] = []

    def start(ready: bool = True, **settings: Any) -> Server:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Server(folder, **settings))
        return started[-1].wait_ready() if ready else started[-1]

    yield start
    for server in started:
        server.stop()
