"""The alerts: each says how bad it is, what is wrong and where to read on. Whether they fire is asked by promtool."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
SECTIONS = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]):
    """In a section of the runbooks that is named like the alert."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    assert rule["for"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    """In the same order."""
    assert [rule["alert"] for rule in ALERTS] == SECTIONS


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    """By `promtool test rules`."""
    tests = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    asked = [case for test in tests for case in test.get("alert_rule_test", [])]
    names = {rule["alert"] for rule in ALERTS}

    assert names == {case["alertname"] for case in asked if case["exp_alerts"]}
    assert names == {case["alertname"] for case in asked if not case["exp_alerts"]}
