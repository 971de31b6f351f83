"""What is measured on: the canaries, benign text that nobody tuned on, and rows of `shape`; each with evidence of a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from scipy.stats import binomtest

from interlock_lab.scores import evidence_of
from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import BENIGN_TO, CATEGORIES, Row
from interlock_lab.training.sources.written import read_row

CANARIES = PROJECT_DATA / "canaries.jsonl"


@dataclass(frozen=True)
class Suite:
    """Rows with what the bundle's members said of each."""

    title: str
    rows: Sequence[Row]
    evidence: Sequence[Evidence]

    def withheld(self, policy: Policy, profile: str) -> list[bool]:
        """Per row: whether the profile withholds it."""
        return [not decide(replace(item, profile=profile), policy).released for item in self.evidence]


def share(hits: Sequence[bool]) -> str:
    """The share that is true, with its exact 95 % interval."""
    if not hits:
        return "no rows"
    interval = binomtest(sum(hits), len(hits)).proportion_ci(method="exact")
    return f"{sum(hits) / len(hits):.1%} ({interval.low:.1%} to {interval.high:.1%})"


def load_canaries() -> list[Row]:
    """The sealed test set: in no split, and never shown to a model in training."""
    with CANARIES.open(encoding="utf-8") as lines:
        return [read_row("canaries", json.loads(line)) for line in lines]


def scored(bundle: Path, groups: Sequence[tuple[str, Sequence[Row]]], title: str) -> list[Suite]:
    """The groups of rows as suites, scored in one go through the service's own filter."""
    evidence = iter(evidence_of(bundle, [row for _, rows in groups for row in rows], title))
    return [Suite(name, rows, [next(evidence) for _ in rows]) for name, rows in groups]


def withheld_suites(rows: Sequence[Row], canaries: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows. `shape` was used to fit maps, weights and dials, but no model; the others were fitted on by nothing."""
    for category in CATEGORIES:
        yield f"canaries, {category}, harmful", [row for row in canaries if category in row.harmful_in]
    yield "canaries, all harmful", [row for row in canaries if row.harmful_in]
    yield "canaries, benign look-alikes", [row for row in canaries if not row.harmful_in]
    checks = [row for row in rows if row.split == "benign_check"]
    yield "dolly answers, benign", _of(checks, "dolly")
    yield "hanna stories, mostly benign", _of(checks, "hanna")
    shape = [row for row in rows if row.split == "shape"]
    own = _of(shape, "written/")
    yield "written, shape, clear and severity 2 or 3", [r for r in own if r.harmful_in and (r.severity or 0) >= 2]
    yield "written, shape, benign", [row for row in own if not row.harmful_in]
    yield "AO3, shape, violence by two votes or more", _by_votes(shape, lambda label: label > 0.5)
    yield "AO3, shape, violence by no vote", _by_votes(shape, lambda label: label <= BENIGN_TO)


def _of(rows: Sequence[Row], source: str) -> list[Row]:
    return [row for row in rows if row.source.startswith(source)]


def _by_votes(rows: Sequence[Row], wanted: Callable[[float], bool]) -> list[Row]:
    label = "violence_injury"
    return [r for r in _of(rows, "passage_tw") if (found := r.labels[label]) is not None and wanted(found)]
