"""What the audit log costs: saturated throughput with and without it, in turn, over the default and over a fast ensemble.

.venv/bin/python benchmarks/audit.py      writes benchmarks/results/audit.json
"""

import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from figures import rounded
from machine import RESULTS, described
from scenarios import Target, saturation
from servers import FAST_MEMBERS, Bundle, bundle_of, running_interlock

ROUNDS, SECONDS, CALLERS = 7, 5.0, 16
MODES: dict[str, dict[str, Any]] = {
    "off": {},
    "best_effort": {"mode": "best_effort"},
    "required": {"mode": "required"},
    "required_full_text": {"mode": "required", "text": "full"},
}


def main() -> None:
    """Measures and writes."""
    with bundle_of(FAST_MEMBERS) as fast:
        result = {"machine": described(), "default": measured(None), "fast": measured(fast)}
    path = RESULTS / "audit.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


def measured(bundle: Bundle | None) -> dict[str, Any]:
    """Verdicts per second in every mode, and its ratio to those without a log, by rounds."""
    per_s: dict[str, list[float]] = {mode: [] for mode in MODES}
    cpu_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=RESULTS.parents[1] / "build")))
        servers = {mode: stack.enter_context(_server(bundle, folder / mode, audit)) for mode, audit in MODES.items()}
        for number in range(ROUNDS):
            # Every other round backwards, so that no mode is always the one after the same other.
            for mode in list(MODES)[:: -1 if number % 2 else 1]:
                server = servers[mode]
                target = Target(server.address, server.pids)
                done = saturation(target, f"audit-{mode}-{number}", SECONDS, CALLERS)
                per_s[mode].append(done["per_s"])
                cpu_ms[mode].append(1000 * done["server_cpu_s_per_request"])
    return {mode: _summary(mode, per_s, cpu_ms) for mode in MODES}


def _summary(mode: str, per_s: dict[str, list[float]], cpu_ms: dict[str, list[float]]) -> dict[str, Any]:
    ratios = sorted(with_log / without for with_log, without in zip(per_s[mode], per_s["off"], strict=True))
    return {
        "per_s": rounded(statistics.median(per_s[mode])),
        "over_off": rounded(statistics.median(ratios)),
        "from": rounded(ratios[0]),
        "to": rounded(ratios[-1]),
        "server_cpu_ms": rounded(statistics.median(cpu_ms[mode])),
    }


def _server(bundle: Bundle | None, folder: Path, audit: dict[str, Any]) -> Any:
    """A server whose log is on a real disk, where there is one."""
    return running_interlock(bundle, audit={"folder": str(folder), **audit} if audit else {})


if __name__ == "__main__":
    main()
