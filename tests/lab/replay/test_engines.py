import subprocess
import sys

import pytest
from audit.samples import verdict, write_log
from interlock_lab.replay.engines import EngineError, local
from interlock_lab.replay.redecide import Job
from interlock_server.audit.reader import units
from msgspec.structs import replace as changed

from .samples import LOG, SAME, run

MEASURED = """
import sys
from pathlib import Path
from interlock_lab.replay.engines import local
from interlock_lab.replay.redecide import Job
from interlock_lab.replay.tally import Tally
from interlock_server.audit.reader import units
from lab.replay.samples import SAME

jobs = [(number, Job(0, unit)) for number, unit in enumerate(units(Path(sys.argv[1])))]
total = Tally()
for _, tally in local(jobs, SAME, workers=1):
    total.merge(tally)
most = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(total.checked, most.split()[1])  # ru_maxrss would begin with what the parent has
"""


def test_memory_does_not_grow_with_the_log(tmp_path):
    """Four times the records, in one segment, need no more."""
    kinds, needed = [verdict(number) for number in range(9)], []
    for records in (8_000, 32_000):
        folder = tmp_path / str(records)
        write_log(folder, [changed(kinds[number % 9], verdict_id=f"{number:036}") for number in range(records)])
        command = [sys.executable, "-c", MEASURED, str(folder)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, cwd="tests").stdout.split()
        assert str(records) == output[0]
        needed.append(int(output[1]))

    assert needed[1] < 1.1 * needed[0]


def test_a_cluster_gives_the_same_figures(tmp_path):
    """To the byte: the same function, the same merge."""
    out = tmp_path / "ray.json"
    command = ["replay", LOG, "--policy", "cautious", "--engine", "ray", "--workers", "2", "--json", out]
    done = subprocess.run(
        [sys.executable, "-m", "interlock_server", *map(str, command)], capture_output=True, text=True
    )
    run(tmp_path, LOG, "--policy", "cautious")

    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "figures.json").read_bytes() == out.read_bytes()


class Deadly(Job):
    """Kills whoever takes it over."""

    def __reduce__(self):
        return __import__("os")._exit, (1,)


def test_a_dead_worker_is_an_error(tmp_path):
    """And not a log that is shorter."""
    write_log(tmp_path, [verdict(1)], [verdict(2)])
    jobs = [(number, Deadly(0, unit)) for number, unit in enumerate(units(tmp_path))]

    with pytest.raises(EngineError, match="a worker process died"):
        list(local(jobs, SAME, workers=2))
