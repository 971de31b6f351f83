"""The image as it is built and run: small, without tools, powerless, and a whole Interlock."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interlock_client import SafetyFilter

from .conftest import RunContainer
from .container import PATIENCE_S, Container

SIZE_BYTES_MAX = 650_000_000
TOOLS = {"cc", "c++", "gcc", "g++", "ld", "make", "pip", "pip3", "git", "curl", "wget"}
CACHES = ("root/.cache", "var/cache/apt/archives", "var/lib/apt/lists", "build", "package")
BENIGN = "She poured two cups of tea and sat down."
HARMFUL = "He drove the knife into her stomach and she fell."

pytestmark = pytest.mark.timeout(900)  # the first test builds


def all_files(path: Path) -> Iterator[Path]:
    return (found for found in path.rglob("*") if found.is_file() and not found.is_symlink())


def test_it_is_small(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unpacked; the size is printed."""
    size_bytes = sum(found.stat().st_size for found in all_files(files))
    with capsys.disabled():
        print(f"\nimage: {size_bytes / 1e6:.0f} MB")

    assert size_bytes < SIZE_BYTES_MAX


def test_no_tool_to_build_with_is_in_it(files: Path) -> None:
    """No compiler, no installer of Python packages, nothing that fetches."""
    programs = {
        found.name
        for folder in ("usr/bin", "usr/local/bin", "opt/interlock/bin")
        for found in (files / folder).iterdir()
    }

    assert set() == programs & TOOLS
    assert [] == [*files.glob("**/site-packages/pip"), *files.glob("usr/lib/python3/dist-packages/pip")]


def test_no_cache_is_in_it(files: Path) -> None:
    """Nor what the build left behind."""
    assert [] == [found for cache in CACHES for found in all_files(files / cache)]


def test_a_screen_from_the_host_is_answered(container: Container) -> None:
    """By the ensemble that ships: what is benign is released, what is harmful is not."""
    with SafetyFilter(targets=container.target, timeout_s=PATIENCE_S) as safety_filter:
        verdicts = [safety_filter.screen(prompt="", completion=completion) for completion in (BENIGN, HARMFUL)]

    assert [True, False] == list(map(bool, verdicts))


def test_its_metrics_are_there_for_the_host(container: Container) -> None:
    """On its own port."""
    with urllib.request.urlopen(f"{container.http}/metrics", timeout=PATIENCE_S) as response:
        page = response.read().decode()

    assert "interlock_info{" in page


def test_it_runs_as_nobody_and_may_nothing(container: Container) -> None:
    """A numeric user other than root, without capabilities, and none to be had."""
    status = container.status()

    assert {"10001"} == set(status["Uid"].split()) == set(status["Gid"].split())
    assert 0 == int(status["CapBnd"], 16)
    assert "1" == status["NoNewPrivs"]


@pytest.mark.parametrize("place", ["/", "/tmp", "/opt/interlock", "/etc/interlock"])
def test_nothing_can_be_written(container: Container, place: str) -> None:
    """Not even temporary files: it needs none."""
    done = container.execute("touch", f"{place}/file")

    assert 0 != done.returncode
    assert "Read-only file system" in done.stderr


def test_the_health_check_says_that_it_is_healthy(container: Container, image: dict[str, Any]) -> None:
    """The program that the image names, asking the port of this container."""
    (kind, program, command, address) = image["Healthcheck"]["Test"]
    done = container.execute(program, command, container.target)

    assert ("CMD", "127.0.0.1:50051") == (kind, address)
    assert (0, "SERVING\n") == (done.returncode, done.stdout)


def test_the_health_check_says_that_nobody_is_there(container: Container) -> None:
    """An exit code of 1, which is what engines ask for."""
    assert 1 == container.execute("interlock", "health", "127.0.0.1:1").returncode


def test_what_was_left_out_is_not_needed(container: Container) -> None:
    """The files that the build removes: the log and the remote members load without them."""
    modules = "pyarrow.parquet, tritonclient.grpc.aio, onnxruntime, interlock_server.audit.log"

    assert 0 == container.execute("python", "-c", f"import {modules}").returncode


def test_sigterm_drains_it(run_container: RunContainer) -> None:
    """Though it is the first process of its container, for which signals do nothing by themselves."""
    container = run_container().wait_ready()

    assert 0 == container.stop()
    assert 1 == len(container.events("draining"))


def test_a_wrong_setting_ends_it(run_container: RunContainer) -> None:
    """With an exit code and a line that names the field."""
    container = run_container(INTERLOCK__TRANSPORT__ADRESS="0.0.0.0:50051")

    assert 1 == container.process.wait(PATIENCE_S)
    assert "transport.adress: there is no such setting" in container.log
