"""The dashboard: `python deploy/monitoring/dashboard.py` writes grafana.json, which Grafana imports.

Panels see one job or instance, or all; recorded series (`interlock:...`, from rules.yaml) are by job.
"""

import json
from pathlib import Path

from decided import CERTIFICATE, DISSENT, MARGINS, VERDICTS
from panels import rendered
from served import AUDIT, LATENCY, OUTAGES, QUEUES, ROLLOUT

FILE = Path(__file__).with_name("grafana.json")
ROWS = (VERDICTS, DISSENT, MARGINS, CERTIFICATE, LATENCY, QUEUES, OUTAGES, AUDIT, ROLLOUT)
ABOUT = (
    "Interlock: what is withheld and why, what fails, and what may be claimed. Made by deploy/monitoring/dashboard.py."
)


def content() -> str:
    """The file."""
    return json.dumps(rendered("interlock", "Interlock", ABOUT, ROWS), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(content())
