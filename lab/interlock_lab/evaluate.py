"""`interlock evaluate`: what a bundle withholds, of harmful and of benign text, per profile, into docs/ensemble.md.

Rows are scored once through the service's own filter; each profile then decides on the same evidence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from scipy.stats import binomtest

from interlock_lab.calibrate import BENIGN_TO
from interlock_lab.scores import evidence_of
from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import CATEGORIES, Row
from interlock_lab.training.sources.written import read_row
from interlock_lab.training.store import load_rows

CANARIES = PROJECT_DATA / "canaries.jsonl"
DOCS_MARK = "<!-- figures: written by `interlock evaluate` -->"


@dataclass(frozen=True)
class Suite:
    """Rows of which one share is reported; what is better, high or low, is said beside it."""

    title: str
    rows: list[Row]
    evidence: list[Evidence]

    def share(self, withheld: Callable[[Evidence], bool]) -> str:
        """The share withheld, with n and its exact 95 % interval."""
        if not self.rows:
            return "no rows"
        count = sum(map(withheld, self.evidence))
        interval = binomtest(count, len(self.rows)).proportion_ci(method="exact")
        return f"{count / len(self.rows):.1%} ({interval.low:.1%} to {interval.high:.1%})"


def evaluate(
    work_dir: Annotated[Path, typer.Option("--work", exists=True, file_okay=False, help="What `train` has written.")],
    bundle: Annotated[Path, typer.Option(help="The bundle to judge.")] = DEFAULT_BUNDLE,
    docs: Annotated[Path | None, typer.Option(help="Also replace the figures in this page.")] = None,
) -> None:
    """Measure what each profile of a bundle withholds on canaries, benign text and rows that no member was fitted on."""
    loaded = load_bundle(bundle)
    groups = list(_suites(load_rows(work_dir / "rows.jsonl"), load_canaries()))
    rows = [row for _, members in groups for row in members]
    evidence = iter(evidence_of(bundle, rows, "scoring suites"))
    suites = [Suite(title, members, [next(evidence) for _ in members]) for title, members in groups]
    table = "\n".join(_table(suites, loaded))
    typer.echo(table)
    if docs is not None:
        before, mark, _ = docs.read_text(encoding="utf-8").partition(DOCS_MARK)
        docs.write_text(f"{before}{mark or DOCS_MARK}\n\n{table}\n", encoding="utf-8")


def load_canaries() -> list[Row]:
    """The sealed test set: in no split, and never shown to a model in training."""
    with CANARIES.open(encoding="utf-8") as lines:
        return [read_row("canaries", json.loads(line)) for line in lines]


def _suites(rows: Sequence[Row], canaries: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows. `shape` was used to fit maps, weights and dials, but no model; the others were fitted on by nothing."""
    for category in CATEGORIES:
        yield f"canaries, {category}, harmful", [row for row in canaries if category in row.harmful_in]
    yield "canaries, all harmful", [row for row in canaries if row.harmful_in]
    yield "canaries, benign look-alikes", [row for row in canaries if not row.harmful_in]
    checks = [row for row in rows if row.split == "benign_check"]
    yield "dolly answers, benign", [row for row in checks if row.source.startswith("dolly")]
    yield "hanna stories, mostly benign", [row for row in checks if row.source.startswith("hanna")]
    shape = [row for row in rows if row.split == "shape" and row.source.startswith("written/")]
    yield "written, shape, clear and severity 2 or 3", [r for r in shape if r.harmful_in and (r.severity or 0) >= 2]
    yield "written, shape, benign", [row for row in shape if not row.harmful_in]
    stories = [row for row in rows if row.split == "shape" and row.source == "passage_tw"]
    yield "AO3, shape, violence by two votes or more", [row for row in stories if "violence_injury" in row.harmful_in]
    unmarked = [row for row in stories if (row.labels["violence_injury"] or 1.0) <= BENIGN_TO]
    yield "AO3, shape, violence by no vote", unmarked


def _table(suites: Sequence[Suite], bundle: Bundle) -> Iterator[str]:
    policy = bundle.policy
    profiles = sorted(policy.profiles)
    yield f"Withheld, with exact 95 % intervals. {datetime.now(UTC):%Y-%m-%d}, bundle `{bundle.digest[:19]}`."
    yield ""
    yield f"| suite | n | {' | '.join(profiles)} |"
    yield f"|---|---:|{'---:|' * len(profiles)}"
    for suite in suites:
        shares = [suite.share(_withheld_by(policy, profile)) for profile in profiles]
        yield f"| {suite.title} | {len(suite.rows)} | {' | '.join(shares)} |"


def _withheld_by(policy: Policy, profile: str) -> Callable[[Evidence], bool]:
    return lambda evidence: not decide(replace(evidence, profile=profile), policy).released
