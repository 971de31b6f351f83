"""Draws docs/dashboard.png anew from the services of these tests: `PYTHONPATH=tests python -m integration.prometheus.draw`."""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from .conftest import FACTOR
from .outages import Services
from .watching import ROOT, Prometheus

MINUTES, MINUTES_BEFORE = 3, 1


def main() -> None:
    """Takes as long as the picture shows."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        services = Services(stack, Path(folder))
        prometheus = Prometheus(Path(folder), services.targets, FACTOR)
        stack.callback(prometheus.stop)
        time.sleep(60 * MINUTES_BEFORE)
        services.trouble()
        time.sleep(60 * (MINUTES - MINUTES_BEFORE))
        script, picture = ROOT / "deploy" / "monitoring" / "picture.py", ROOT / "docs" / "dashboard.png"
        arguments = [prometheus.url, str(picture), f"--minutes={MINUTES}", f"--window={prometheus.window}"]
        subprocess.run([sys.executable, str(script), *arguments], check=True)


if __name__ == "__main__":
    main()
