"""What the machine is, and what processes use of it, from /proc: CPU seconds with all threads, and resident memory."""

import os
import platform
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
CORES = len(os.sched_getaffinity(0))
ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that the processes and their living descendants have used, with all threads; to 10 ms."""
    return sum(_stat_ticks(pid) for pid in _with_descendants(pids)) / _TICKS_PER_S


def memory_mb(pids: Iterable[int]) -> float:
    """Resident memory, with descendants; pages that processes share count for each."""
    fields = (_read(Path(f"/proc/{pid}/statm")).split() for pid in _with_descendants(pids))
    return sum(int(found[1]) for found in fields if found) * _PAGE_MB


def wait_until_idle(pids: Iterable[int], wait_max_s: float = 30.0) -> float:
    """Waits until the processes hardly work any more; returns the CPU seconds that they have used by then."""
    listed, ends_s = list(pids), time.monotonic() + wait_max_s
    before_s = cpu_s(listed)
    while time.monotonic() < ends_s:
        time.sleep(0.3)
        now_s = cpu_s(listed)
        if now_s - before_s <= 0.02:
            return now_s
        before_s = now_s
    return before_s


def described() -> dict[str, Any]:
    """Date, processor and versions, for the head of a result."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _cpu_model(),
        "cores": CORES,
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "grpcio", "tokenizers", "uvloop")},
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _with_descendants(pids: Iterable[int]) -> list[int]:
    found, waiting = [], list(pids)
    while waiting:
        found.append(pid := waiting.pop())
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += map(int, _read(children).split())
    return found


def _stat_ticks(pid: int) -> int:
    # The name of the program, in parentheses, may hold blanks.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _read(path: Path) -> str:
    """The file's text; nothing when the process has ended meanwhile, as workers of some servers do."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return f"{found.get('model name', platform.machine())} (family {found.get('cpu family')}, {platform.machine()})"
