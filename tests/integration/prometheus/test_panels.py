"""Every expression of the dashboard has data, when a real Prometheus has scraped real services."""

import json
import math
import re
import time
from typing import Any

import pytest

from .outages import WELL
from .watching import ROOT, Prometheus

PANELS: list[dict[str, Any]] = [
    panel
    for panel in json.loads((ROOT / "deploy" / "monitoring" / "grafana.json").read_text())["panels"]
    if panel["type"] != "row"
]


def expanded(expression: str, window: str) -> str:
    """As Grafana asks, for all jobs and instances."""
    return re.sub(r"\$job|\$instance", ".*", expression).replace("$__rate_interval", window)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_curve_of_a_panel_has_data(watched: Prometheus, panel: dict[str, Any]):
    """Numbers, not only series."""
    for target in panel["targets"]:
        expression = expanded(target["expr"], watched.window)
        watched.eventually(lambda e=expression: any(math.isfinite(value) for _, value in watched.query(e)), expression)


def test_a_slow_verdict_leads_to_its_trace(watched: Prometheus):
    """By an exemplar, which Prometheus keeps beside the bucket."""
    asked = {"query": f'interlock_screen_seconds_bucket{{job="{WELL}"}}', "start": "0", "end": str(time.time() + 60)}
    watched.eventually(lambda: watched.get("query_exemplars", **asked))
    exemplars = [each for series in watched.get("query_exemplars", **asked) for each in series["exemplars"]]

    assert {32} == {len(each["labels"]["trace_id"]) for each in exemplars}
