"""Sealing in a process of its own: one at a time, nicely, buried when it has ended, and never in the way."""

import os
import signal
import sys
from pathlib import Path

import pytest
from interlock_server.audit.sealing import SealingProcess

from .disk import Bench

WAITS = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / f"{os.getpid()}.begun").touch()
with open(folder / "go") as go:
    go.read()
"""


def command(source: str) -> tuple[str, ...]:
    """What is run instead of sealing."""
    return (sys.executable, "-c", source)


def ended(process: SealingProcess) -> None:
    """Waits until what runs has ended, without burying it."""
    assert process._running is not None
    os.waitid(os.P_PID, process._running.pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a pipe that holds up who reads it."""
    os.mkfifo(tmp_path / "go")
    return tmp_path


def test_one_runs_at_a_time(folder: Path):
    """Whoever asks meanwhile is content with that; afterwards there may be another."""
    process = SealingProcess(command(WAITS))
    for _ in range(2):
        process.begin(folder)
        process.begin(folder)
        assert process.tend()
        (folder / "go").write_bytes(b"")  # waits for its reader
        ended(process)
        assert not process.tend()

    assert 2 == len(list(folder.glob("*.begun")))


def test_it_yields_to_everything_else(folder: Path):
    """Its niceness is the highest."""
    process = SealingProcess(command(WAITS))
    process.begin(folder)
    assert process._running is not None

    assert 19 == os.getpriority(os.PRIO_PROCESS, process._running.pid)
    (folder / "go").write_bytes(b"")
    process.close()


def test_closing_ends_what_takes_too_long(folder: Path):
    """It is sealed the next time."""
    process = SealingProcess(command(WAITS), end_wait_s=0.01)
    process.begin(folder)
    running = process._running
    process.close()

    assert running is not None
    assert -signal.SIGKILL == running.returncode
    assert not process.tend()


@pytest.mark.parametrize("source", ["raise SystemExit(3)", ""])
def test_failing_to_seal_is_no_failure(tmp_path: Path, source: str):
    """It is tried again the next time."""
    process = SealingProcess(command(source))
    process.begin(tmp_path)
    ended(process)

    assert not process.tend()


def test_a_command_that_is_not_there_is_no_failure(tmp_path: Path):
    """Records matter more."""
    process = SealingProcess((str(tmp_path / "missing"),))
    process.begin(tmp_path)

    assert not process.tend()
    process.close()


def test_a_process_that_runs_is_looked_after(tmp_path: Path):
    """The thread wakes up for it, or it would stay a zombie until the next record."""
    bench = Bench(tmp_path)
    writer = bench.open()
    before = writer.tend()
    bench.seals.busy = True

    assert (None, 1.0) == (before, writer.tend())
