"""Reloaders that end with their test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from .samples import Files, Insides

Start = Callable[[], Awaitable[Insides]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """What the next reloader is configured with."""
    return Files(tmp_path)


@pytest.fixture
async def start(files: Files) -> AsyncIterator[Start]:
    """Starts reloaders."""
    started: list[Insides] = []

    async def start_one() -> Insides:
        started.append(Insides(files))
        await started[-1].reloader.start()
        return started[-1]

    yield start_one
    for each in started:
        await each.reloader.close()
