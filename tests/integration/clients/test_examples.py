"""The examples in other languages compile with stubs made from the contract, and withhold whatever is not RELEASE."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from client.fake_service import (
    Behaviour,
    FakeService,
    empty,
    fail,
    garbage,
    harmful,
    judge,
    of_another_text,
    released,
    undecided,
)

from . import building

COMPLETION = "She poured two cups of tea and sat down."
FALLBACK = "I can't help with that."
PATIENCE_S = 60.0

WITHHELD: dict[str, Behaviour] = {
    "harmful": judge(harmful),
    "undecided": judge(undecided),
    "of_another_text": judge(of_another_text),
    "empty": empty,
    "garbage": garbage,
    "unavailable": fail(grpc.StatusCode.UNAVAILABLE),
    "internal": fail(grpc.StatusCode.INTERNAL),
}

pytestmark = pytest.mark.timeout(600)  # the first tests compile


@pytest.fixture(scope="session", params=[building.go, building.typescript], ids=["go", "typescript"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How to run the example."""
    build: Callable[[Path], list[str]] = request.param
    return build(tmp_path_factory.mktemp(build.__name__))


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], str]]:
    """Starts a server with one answer; gives its address."""
    started: list[FakeService] = []

    def start(behaviour: Behaviour) -> str:
        started.append(FakeService(behaviour))
        return started[-1].target

    yield start
    for service in started:
        service.stop()


def run(command: list[str], target: str) -> tuple[int, str]:
    words = [*command, target, "Tell me about the kitchen.", COMPLETION]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout.strip()


def test_what_is_released_is_shown(command: list[str], serve: Callable[[Behaviour], str]) -> None:
    """The very text."""
    assert (0, COMPLETION) == run(command, serve(judge(released)))


@pytest.mark.parametrize("answer", WITHHELD)
def test_everything_else_is_withheld(command: list[str], serve: Callable[[Behaviour], str], answer: str) -> None:
    """Verdicts that do not release this text, answers that are none, and errors."""
    assert (3, FALLBACK) == run(command, serve(WITHHELD[answer]))


def test_without_a_server_everything_is_withheld(command: list[str]) -> None:
    """Nobody listens there."""
    assert (3, FALLBACK) == run(command, "127.0.0.1:1")
