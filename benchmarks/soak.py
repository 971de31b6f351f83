"""Memory and latency over half an hour at 70 % load, and whether they were flat.

.venv/bin/python benchmarks/soak.py [--minutes 30] [--load 0.7]     writes benchmarks/results/soak.json
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import load
from figures import Figure, ratio, rounded
from machine import RESULTS, described, memory_mb
from scenarios import PATIENT_S, Plan, Target, saturation
from servers import Running, running_interlock

LOAD, BUCKET_S = 0.7, 10.0
SETTLING_SHARE = 0.2
"""Of the run, in which caches and arenas still fill: not looked at for trends."""
GROWTH_MAX, SLOWER_MAX = 0.05, 1.25
"""Flat: memory would grow by no more than this share over the run, and the last third is no slower than the first by this."""


def main() -> int:
    """Measures the capacity, then soaks. Exit code 1 when something was not flat."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=30.0)
    arguments.add_argument("--load", type=float, default=LOAD, help="share of the capacity")
    arguments.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    asked = arguments.parse_args()
    result = soaked(asked.minutes * 60, asked.load)
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{asked.output.name}: {result['outcomes']}, {result['trend']}")
    return 0 if result["trend"]["flat"] else 1


def soaked(seconds: float, share: float = LOAD) -> dict[str, Any]:
    """Latencies for each ten seconds, and the server's memory at the end of each."""
    machine = described()
    with running_interlock() as server:
        full = saturation(Target(server.address, server.pids), "soak/warm", 5, Plan.callers)
        rate = share * full["per_s"]
        task = load.Task(
            server.address, mode="open", salt="soak", text_count=int(rate * seconds * 1.1) + 100, rate_per_s=rate,
            seconds=seconds, warm_up_share=0.0, deadline_s=PATIENT_S, bucket_s=BUCKET_S,
        )  # fmt: skip
        done, memory = _with_memory(task, server)
    names = ("outcomes", "latency", "generator_cores", "buckets")
    found = {name: done[name] for name in names}
    flatness = trend(memory, done["buckets"])
    return {
        "machine": machine,
        "rate_per_s": rounded(rate),
        "load": share,
        "trend": flatness,
        "memory_mb": memory,
        **found,
    }


def trend(memory: Sequence[Figure], buckets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The slope of memory, and how much slower the last third of the windows was than the first, behind the settling."""
    known = [mb for mb in memory if mb is not None]
    settled = known[int(SETTLING_SHARE * len(known)) :]
    slope = _slope(settled)
    growth = slope * len(settled) / statistics.mean(settled) if settled else None
    later = buckets[int(SETTLING_SHARE * len(buckets)) :]
    slower = {name: _slower([bucket[f"{name}_ms"] for bucket in later]) for name in ("p50", "p99")}
    flat = {
        "memory": growth is not None and growth <= GROWTH_MAX,
        **{name: value is not None and value <= SLOWER_MAX for name, value in slower.items()},
    }
    return {
        "memory_mb_per_hour": rounded(slope * 3600 / BUCKET_S),
        "memory_growth": rounded(growth),
        **{f"{name}_last_to_first": value for name, value in slower.items()},
        "flat": all(flat.values()),
        "not_flat": [name for name, holds in flat.items() if not holds],
    }


def _slope(values: Sequence[float]) -> float:
    """By least squares, from one value to the next."""
    return statistics.linear_regression(range(len(values)), values).slope if len(values) > 1 else 0.0


def _slower(windows: Sequence[Figure]) -> Figure:
    """The median of the last third to that of the first; unknown when a window has no such figure, as where most was late."""
    third = max(len(windows) // 3, 1)
    known = [value for value in windows if value is not None]
    if not known or len(known) < len(windows):
        return None
    return ratio(statistics.median(known[-third:]), statistics.median(known[:third]))


def _with_memory(task: load.Task, server: Running) -> tuple[dict[str, Any], list[Figure]]:
    memory = [rounded(memory_mb(server.pids))]
    ended = threading.Event()

    def watch() -> None:
        begun_s = time.monotonic()
        while not ended.wait(max(begun_s + BUCKET_S * len(memory) - time.monotonic(), 0)):
            memory.append(rounded(memory_mb(server.pids)))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        return load.generate(task), memory
    finally:
        ended.set()
        watching.join()


if __name__ == "__main__":
    sys.exit(main())
