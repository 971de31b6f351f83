"""Is the certificate honest? Many trials in invented worlds; writes benchmarks/results/certify_simulation.json."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from interlock_lab.certify.simulation import all_worlds

RESULT = Path(__file__).parent / "results" / "certify_simulation.json"


def main() -> None:
    """Prints a line per world, and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = all_worlds(options.trials, options.seed)
    for item in found:
        verdict = "holds" if item.honest else "FAILS"
        print(f"{item.coverage:7.2%} of {item.nominal:.0%}  {verdict}  bound / truth {item.ratio:.2f}  {item.name}")
    rows = [{**asdict(item), "coverage": item.coverage, "honest": item.honest} for item in found]
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "trials": options.trials, "seed": options.seed, "worlds": rows}
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
