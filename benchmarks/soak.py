"""Memory and latency over a quarter of an hour at 70 % load.

.venv/bin/python benchmarks/soak.py [--minutes 15]     writes benchmarks/results/soak.json
"""

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import load
from figures import rounded
from machine import RESULTS, described, memory_mb
from scenarios import PATIENT_S, Plan, Target, saturation
from servers import Running, running_interlock

LOAD, BUCKET_S = 0.7, 10.0


def main() -> int:
    """Measures the capacity, then soaks."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=15.0)
    arguments.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    asked = arguments.parse_args()
    result = soaked(asked.minutes * 60)
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{asked.output.name}: {result['outcomes']}, memory {result['memory_mb'][0]} to {result['memory_mb'][-1]} MB")
    return 0


def soaked(seconds: float) -> dict[str, Any]:
    """Latencies for each ten seconds, and the server's memory at the end of each."""
    machine = described()
    with running_interlock() as server:
        full = saturation(Target(server.address, server.pids), "soak/warm", 5, Plan.callers)
        rate = LOAD * full["per_s"]
        task = load.Task(
            server.address, mode="open", salt="soak", text_count=int(rate * seconds * 1.1) + 100, rate_per_s=rate,
            seconds=seconds, warm_up_share=0.0, deadline_s=PATIENT_S, bucket_s=BUCKET_S,
        )  # fmt: skip
        done, memory = _with_memory(task, server)
    names = ("outcomes", "latency", "generator_cores", "buckets")
    found = {name: done[name] for name in names}
    return {"machine": machine, "rate_per_s": rounded(rate), "load": LOAD, "memory_mb": memory, **found}


def _with_memory(task: load.Task, server: Running) -> tuple[dict[str, Any], list[float | None]]:
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
