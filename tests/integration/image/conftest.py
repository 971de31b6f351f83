"""The image is built once, and one container of it is shared by the tests that leave it as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import buildah
from .container import Container

CONFIG = """\
transport:
  address: 127.0.0.1:0
  http_address: 127.0.0.1:0
"""
RunContainer = Callable[..., Container]


@pytest.fixture(scope="session")
def files() -> Iterator[Path]:
    """The files of the image."""
    buildah.build()
    with buildah.mounted() as path:
        yield path


@pytest.fixture(scope="session")
def image(files: Path) -> dict[str, Any]:
    """What the image says of itself."""
    return buildah.described()


@pytest.fixture(scope="session")
def container(files: Path, image: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One that serves."""
    started = start(tmp_path_factory.mktemp("container"), files, image)
    yield started.wait_ready()
    started.stop()


@pytest.fixture
def run_container(files: Path, image: dict[str, Any], tmp_path: Path) -> Iterator[RunContainer]:
    """Runs one for this test alone, with other variables."""
    started: list[Container] = []

    def run(**variables: str) -> Container:
        started.append(start(tmp_path, files, image, **variables))
        return started[-1]

    yield run
    for each in started:
        each.stop()


def start(folder: Path, files: Path, image: dict[str, Any], **variables: str) -> Container:
    config = folder / "etc"
    config.mkdir(mode=0o755)
    (config / "interlock.yaml").write_text(CONFIG)
    folder.chmod(0o755)
    arguments = ["serve", "--config", "/etc/interlock/interlock.yaml"]
    return Container(folder, files, image, arguments, variables, config)
