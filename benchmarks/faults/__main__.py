"""The fault suite.

.venv/bin/python benchmarks/faults [--quick] [KIND...]     writes benchmarks/results/faults.json and docs/faults.md

Exit code 1 on a wrong release, a server that does not recover, or a fault that could not be injected. A quick run and one
of some kinds only write nothing.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import RESULTS, ROOT, described
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from faults import report
from faults.judging import RUN_OF_RELEASES
from faults.kind import Kind
from faults.machine_kinds import MACHINE_KINDS
from faults.member_kinds import MEMBER_KINDS, TRITON_KINDS
from faults.network_kinds import NETWORK_KINDS
from faults.process_kinds import PROCESS_KINDS
from faults.runner import QUICK, Row, Times, run
from faults.traffic import BENIGN_SHARE, Loop
from faults.world import Worlds

KINDS = tuple(
    sorted((*MEMBER_KINDS, *TRITON_KINDS, *MACHINE_KINDS, *NETWORK_KINDS, *PROCESS_KINDS), key=lambda kind: kind.world)
)
"""Sorted by where they happen: a world is made once."""
REQUESTS_MIN = 100_000


def main() -> int:
    """Runs what was asked for, and says how it went."""
    asked = _arguments()
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # connections are meant to break here
    kinds = [kind for kind in KINDS if not asked.kinds or kind.name in asked.kinds]
    console = Console(stderr=True)
    rows = _run_all(kinds, QUICK if asked.quick else Times(during_s=asked.seconds), console)
    console.print(report.table(rows))
    found = report.totals(rows)
    if not (asked.quick or asked.kinds):
        _write(rows, found)
        if found["requests_under_fault"] < REQUESTS_MIN:
            print(f"fewer than {REQUESTS_MIN:,} requests under fault")
            found["failed"] += 1
    for row in rows:
        for problem in row.problems:
            print(f"{row.kind.name}: {problem}")
    print(report.totals_line(found))
    return 1 if found["failed"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *(kind.name for kind in KINDS)], metavar="KIND")
    parser.add_argument("--quick", action="store_true", help="in a few minutes")
    parser.add_argument("--seconds", type=float, default=Times.during_s, help="of each fault")
    return parser.parse_args()


def _run_all(kinds: list[Kind], times: Times, console: Console) -> list[Row]:
    rows: list[Row] = []
    loop = Loop()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Worlds(loop) as worlds, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(kinds))
        for seed, kind in enumerate(kinds):
            progress.update(task, description=kind.name)
            rows.append(run(kind, worlds, loop, times, seed))
            progress.advance(task)
            if rows[-1].problems:
                progress.console.print(f"[red]{kind.name}: {'; '.join(rows[-1].problems)}")
    return rows


def _write(rows: list[Row], found: dict[str, int]) -> None:
    result = {
        "machine": described(),
        "benign_share": BENIGN_SHARE,
        "run_of_releases": RUN_OF_RELEASES,
        "totals": found,
        "rows": [row.as_dict() for row in rows],
    }
    (RESULTS / "faults.json").write_text(json.dumps(result, indent=1) + "\n")
    (ROOT / "docs" / "faults.md").write_text(report.page(result))


if __name__ == "__main__":
    sys.exit(main())
