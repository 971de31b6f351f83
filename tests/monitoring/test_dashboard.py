"""The dashboard: the file is what the code makes, and it shows what the server measures, all of it."""

import json
import re
from pathlib import Path

import pytest
from dashboard import FILE, ROWS, content
from interlock_server.metrics import Metrics
from panels import Panel

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r"\b(?:interlock|grpc_server|process)_(?!server\b)\w+")
RECORDED = re.compile(r"\binterlock:[\w:]+")
SUFFIXES = ("_bucket", "_sum", "_count")
PANELS = [panel for row in ROWS for panel in row.panels]
RULES = (ROOT / "deploy" / "monitoring" / "rules.yaml").read_text()


def declared() -> set[str]:
    """What a scrape may bring, without the suffixes of histograms."""
    families = Metrics().registry.collect()
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families}


def mentioned(text: str) -> set[str]:
    """The metrics that a text names."""
    found = METRIC.findall(text)
    return {name.removesuffix(next(filter(name.endswith, SUFFIXES), "")) for name in found}


def test_the_file_is_what_the_code_makes():
    """`python deploy/monitoring/dashboard.py` writes it."""
    assert content() == FILE.read_text()


@pytest.mark.parametrize(
    "file", ["deploy/monitoring/grafana.json", "deploy/monitoring/rules.yaml", "docs/operations.md", "docs/runbooks.md"]
)
def test_no_metric_is_named_that_there_is_not(file: str):
    """A typing error there is a panel without data or an alert that never fires."""
    assert set() == mentioned((ROOT / file).read_text()) - declared()


def test_everything_that_is_measured_is_shown():
    """What nobody can see need not be measured."""
    assert set() == declared() - mentioned(FILE.read_text())


def test_everything_recorded_that_is_shown_or_used_is_made():
    """By rules.yaml."""
    made = set(re.findall(r"record: (\S+)", RULES))

    assert set() == {name for text in (FILE.read_text(), RULES) for name in RECORDED.findall(text)} - made


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_says_what_it_tells(panel: Panel):
    """And heatmaps draw one histogram."""
    assert panel.text.endswith(".")
    assert panel.kind in ("timeseries", "stat") or 1 == len(panel.curves)


def test_no_two_panels_lie_on_each_other():
    """Each has its place, and its number."""
    panels = json.loads(FILE.read_text())["panels"]
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len(panels) == len({panel["id"] for panel in panels})
