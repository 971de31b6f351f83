"""An ensemble on a GPU, bare at several batch sizes and lengths, and served; refuses where torch finds no GPU.

    .venv/bin/python benchmarks/gpu.py --bundle FOLDER --digest sha256:...     writes benchmarks/results/gpu.json

The bundle's members say where they run (`runs.provider: cuda` of the backend pytorch or onnx; docs/members.md).
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import load
import numpy as np
from figures import percentile, rounded
from machine import RESULTS, described
from servers import Bundle, running_interlock
from texts import corpus

BATCHES, LENGTHS = (1, 4, 16, 64), ("fixed", "4KB")
CALLERS, SECONDS, CALLS = (1, 16, 64, 256), 10.0, 40


def main() -> int:
    """Measures the bare models, then the service over them."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--bundle", type=Path, required=True)
    arguments.add_argument("--digest", required=True)
    asked = arguments.parse_args()
    if (name := gpu_name()) is None:
        print("benchmarks/gpu.py: torch finds no GPU here", file=sys.stderr)
        return 2
    bundle = Bundle(str(asked.bundle), asked.digest)
    result = {
        "machine": described(),
        "gpu": name,
        "digest": bundle.digest,
        "bare": bare(bundle),
        "served": served(bundle),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


def gpu_name() -> str | None:
    """The GPU's name, or None."""
    try:
        import torch
    except ImportError:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def bare(bundle: Bundle) -> list[dict[str, Any]]:
    """Every member scores batches of first windows of equal length, one batch after the other."""
    from interlock_server.app import load_members
    from interlock_server.backends.backend import Run
    from interlock_server.bundle.load import load_bundle

    members: list[Any] = load_members(load_bundle(Path(bundle.path), bundle.digest))
    rows = []
    for kind in LENGTHS:
        for batch in BATCHES:
            work = [(member.backend, equal_windows(member.backend, kind, batch)) for member in members]
            took_s = []
            for _ in range(CALLS):
                begun_s = time.perf_counter()
                for backend, windows in work:
                    backend.score(windows, Run())
                took_s.append(time.perf_counter() - begun_s)
            median_s = percentile(took_s[CALLS // 4 :], 0.5) or 0.0
            rows.append(
                {
                    "tokens": len(work[0][1][0].ids),
                    "batch": batch,
                    "bare_ms": rounded(median_s * 1000),
                    "bare_per_s": rounded(batch / median_s),
                }
            )
    return rows


def equal_windows(backend: Any, kind: str, count: int) -> list[Any]:
    """The first window of each of `count` texts, all as long as the shortest."""
    from interlock_server.text.exchange import Exchange

    windows = [backend.read(Exchange(*text)).windows[0] for text in corpus(kind, count)]
    size = min(len(window.ids) for window in windows)
    return [replace(w, ids=np.concatenate([w.ids[: size - 1], w.ids[-1:]])) for w in windows]


def served(bundle: Bundle) -> list[dict[str, Any]]:
    """Throughput, latency and how busy the GPU was, by number of callers."""
    rows = []
    with running_interlock(bundle) as server:
        for callers in CALLERS:
            task = load.Task(server.address, callers=callers, seconds=SECONDS, text_count=20_000, salt=str(callers))
            with gpu_busy() as busy:
                done = load.generate(task)
            row = {"callers": callers, "per_s": done["verdicts_per_s"], **done["latency"], "outcomes": done["outcomes"]}
            rows.append({**row, "gpu_busy": rounded(fmean(busy) / 100) if busy else None})
    return rows


@contextmanager
def gpu_busy() -> Iterator[list[float]]:
    """Percentages of time with a kernel running, sampled while inside."""
    samples: list[float] = []
    ended = threading.Event()
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]

    def watch() -> None:
        while not ended.wait(0.5):
            samples.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield samples
    finally:
        ended.set()
        watching.join()


if __name__ == "__main__":
    sys.exit(main())
