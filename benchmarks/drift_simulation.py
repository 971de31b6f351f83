"""How often conservative mode is entered for nothing, and how soon when a share of the traffic is new.

    .venv/bin/python benchmarks/drift_simulation.py      writes benchmarks/results/drift.json (some minutes on one core)

One statistic is standard normal, the share that is new is shifted by so many deviations; five statistics are watched, and only
one of them sees it. `null` has also traffic that has drifted by exactly the limit, where a bound errs most easily.
"""

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from interlock_lab.drift.simulate import Design, delays, distance, false_latches, mixture
from scipy.optimize import brentq
from scipy.stats import beta

RUNS_NULL, ITEMS_NULL = 400, 1_000_000
RUNS, ITEMS = 400, 10_000
DESIGN = Design()


def main() -> None:
    """Measures, and keeps the figures."""
    begun_s = time.monotonic()
    at_limit = float(brentq(lambda share: distance(mixture(share, 4.0)) - DESIGN.limit, 0.01, 0.5))
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "limit": DESIGN.limit,
        "false_latch_probability": DESIGN.delta,
        "baseline_conversations": DESIGN.baseline_items,
        "null": [null("no drift", 0.0), null("drift of exactly the limit", at_limit)],
        "planted": [
            planted(share, shift, before)
            for share, shift in ((0.3, 2.0), (0.3, 2.5), (0.3, 3.0), (0.3, 6.0), (0.2, 6.0), (0.5, 2.0), (1.0, 1.0))
            for before in (0, 1_000_000)
        ],
    }
    result["took_s"] = round(time.monotonic() - begun_s)
    path = Path(__file__).parent / "results" / "drift.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    json.dump(result, sys.stdout, indent=1)


def null(name: str, share: float) -> dict[str, object]:
    """Latches in runs of a million conversations, with the exact 95 % upper bound of their probability."""
    found = false_latches(DESIGN, mixture(share, 4.0), ITEMS_NULL, RUNS_NULL, seed=1)
    upper = float(beta.ppf(0.95, found + 1, RUNS_NULL - found))
    return {
        "traffic": name, "conversations": ITEMS_NULL, "runs": RUNS_NULL, "latched": found, "upper_95": round(upper, 4),
    }  # fmt: skip


def planted(share: float, shift: float, before: int) -> dict[str, object]:
    """How many conversations of drift it takes."""
    found = sorted(delays(DESIGN, mixture(share, shift), before, ITEMS, RUNS, seed=2))
    missed = sum(one == float("inf") for one in found)
    median, p90 = statistics.median_high(found), found[int(0.9 * RUNS)]
    return {
        "share": share, "shift": shift, "distance": round(distance(mixture(share, shift)), 3), "before": before,
        "runs": RUNS, "median": None if median == float("inf") else median,
        "p90": None if p90 == float("inf") else p90, "not_found_in_10000": missed,
    }  # fmt: skip


if __name__ == "__main__":
    main()
