"""Real processes and a real disk: what was acknowledged is in the log, however the process ended."""

import subprocess
import sys
from pathlib import Path

import pytest
from interlock_server.audit.recovery import recover
from interlock_server.audit.verify import verify

from .disk import Disk, numbers, stored

ROUNDS = 50


def run(program: str, *arguments: object) -> str:
    """What it prints."""
    path = Path(__file__).with_name(program)
    done = subprocess.run(
        [sys.executable, path, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_nothing_that_was_acknowledged_is_lost_by_kill_9(tmp_path: Path):
    """Fifty times on one folder, under load, at any moment. What was not acknowledged may be there too, but once."""
    acknowledged = [int(line) for line in run("crashing.py", tmp_path, ROUNDS).split()]
    recover(tmp_path, Disk())
    found = numbers(stored(tmp_path))

    assert ROUNDS <= len({number // 100_000 for number in acknowledged})
    assert len(set(found)) == len(found)
    assert set() == set(acknowledged) - set(found)
    assert () == verify(tmp_path).problems


@pytest.mark.parametrize(("mode", "second"), [("required", False), ("best_effort", True)])
def test_a_disk_that_is_really_full_is_survived(tmp_path: Path, mode: str, second: bool):
    """`required` refuses as long as it lasts; `best_effort` goes on, and says that it is not well."""
    said = run("filling.py", tmp_path, mode)

    assert f"{[True, second, True]} {[True, False, True]}\n" == said
    assert [1, 3] == numbers(stored(tmp_path))
