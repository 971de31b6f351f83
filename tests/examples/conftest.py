"""An Interlock whose members know the examples' stories, and the examples as processes of their own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.server import MEMBERS, PATIENT_S, Server

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PHRASES = {"knife": 0.99, "stabbed": 0.99, "password": 0.99}
StartProxy = Callable[..., str]


@pytest.fixture(scope="session")
def interlock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server; what is in PHRASES is harmful to its members."""
    server = Server(tmp_path_factory.mktemp("examples"), scripts={name: {"phrases": PHRASES} for name in MEMBERS})
    yield server.wait_ready()
    server.stop()


def run(name: str, *arguments: str) -> str:
    """What an example prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENT_S, check=True).stdout


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    """Starts the proxy on a free port; returns its URL."""
    processes: list[subprocess.Popen[str]] = []

    def start(interlock: str, *arguments: str) -> str:
        command = [sys.executable, str(EXAMPLES / "chat_proxy.py"), "--serve", "--port", "0", "--interlock", interlock]
        processes.append(subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout is not None
        return processes[-1].stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()
