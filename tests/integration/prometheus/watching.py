"""A real Prometheus in a process of its own, with the project's rules on a faster clock."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from end_to_end.server import free_port

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "monitoring" / "rules.yaml"
TOOLS = ROOT / ".tools" / "prometheus"
PATIENT_S = 90.0
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def tool(name: str) -> str:
    """Where a program of Prometheus is."""
    assert (TOOLS / name).exists(), f"{name} is not installed; run: sh tests/integration/prometheus/install.sh"
    return str(TOOLS / name)


def faster(rules: str, factor: int) -> str:
    """The same rules, with all windows and waits shorter by this factor."""
    pattern = r"(\[|offset |for: )(\d+)([smhd])\b"
    return re.sub(pattern, lambda found: f"{found[1]}{int(found[2]) * _UNITS_MS[found[3]] // factor}ms", rules)


class Prometheus:
    """Starts on construction, and scrapes every second; `targets` is job -> address."""

    def __init__(self, path: Path, targets: Mapping[str, str], factor: int) -> None:
        (path / "rules.yaml").write_text(faster(RULES.read_text(), factor))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target], "labels": {"instance": job}}]}
                for job, target in targets.items()
            ],
        }
        (path / "prometheus.yaml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        self.window = f"{300_000 // factor}ms"
        self._log = path / "prometheus.txt"
        command = [
            tool("prometheus"), f"--config.file={path}/prometheus.yaml", f"--storage.tsdb.path={path}/data",
            f"--web.listen-address={address}", "--log.level=warn", "--enable-feature=exemplar-storage",
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(PATIENT_S)

    def get(self, path: str, **asked: str) -> Any:
        """What its API answers."""
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}", timeout=30
        ) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of now."""
        found = self.get("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def firing(self, job: str, ever: bool = False) -> set[str]:
        """The alerts of a job, now or at any time."""
        series = f'ALERTS{{job="{job}",alertstate="firing"}}'
        return {labels["alertname"] for labels, _ in self.query(f"max_over_time({series}[1h])" if ever else series)}

    def eventually(self, holds: Callable[[], Any], hint: str = "") -> None:
        """Waits until it does."""
        ends_s = time.monotonic() + PATIENT_S
        while not self._holds(holds):
            assert time.monotonic() < ends_s, f"it never came true: {hint}; the log: {self._log.read_text()}"
            time.sleep(0.2)

    @staticmethod
    def _holds(holds: Callable[[], Any]) -> Any:
        try:
            return holds()
        except urllib.error.URLError:  # it is not up yet
            return False
