"""`interlock evaluate`: everything that docs/ensemble.md states about a bundle, measured anew and written there.

Rows are scored once through the service's own filter; each profile then decides on the same evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision.decide import decide
from interlock_server.decision.verdict import Verdict

from interlock_lab import ensemble_page, trust_page
from interlock_lab.comparisons import MISS_RATES, Compared, miss_correlations, paired, rules_compared
from interlock_lab.floor import floor_scores
from interlock_lab.gate.figures import suite_figures
from interlock_lab.numerics import Flips, verdict_flips
from interlock_lab.scores import asked
from interlock_lab.suites import Suite, load_canaries, scored, withheld_suites
from interlock_lab.training import metrics
from interlock_lab.training.metrics import Booleans, Floats
from interlock_lab.training.rows import CATEGORIES, Row, in_split
from interlock_lab.training.store import load_rows
from interlock_lab.tricks_check import TrickFigures, check_tricks

FLOOR_CATEGORY = "violence_injury"
FLOOR_SOURCES = ("passage_tw", "framenet")


@dataclass(frozen=True)
class ShapeScores:
    """Of the `shape` rows whose label in one category is known: nats per member and of the panel."""

    rows: list[Row]
    harmful: Booleans
    llrs: dict[str, Floats]
    panel: Floats

    @property
    def clusters(self) -> list[str]:
        return [row.cluster for row in self.rows]

    def among(self, source: str) -> ShapeScores:
        keep = np.array([row.source == source for row in self.rows])
        llrs = {name: values[keep] for name, values in self.llrs.items()}
        return ShapeScores(
            [r for r, k in zip(self.rows, keep, strict=True) if k], self.harmful[keep], llrs, self.panel[keep]
        )


@dataclass(frozen=True)
class Figures:
    """All that was measured."""

    suites: list[Suite]
    rules: dict[tuple[str, float], list[Compared]]
    correlations: dict[str, dict[tuple[str, str], float]]
    floor: dict[tuple[str, str], list[Compared]]
    floor_sizes: dict[str, tuple[int, int]]
    flips: Flips
    tricks: TrickFigures | None


def evaluate(
    work_dir: Annotated[Path, typer.Option("--work", exists=True, file_okay=False, help="What `train` has written.")],
    bundle: Annotated[Path, typer.Option(help="The bundle to judge.")] = DEFAULT_BUNDLE,
    docs: Annotated[Path | None, typer.Option(help="Write the whole page here.")] = None,
    tricks: Annotated[bool, typer.Option(help="Also apply every trick to every canary: some minutes.")] = True,
) -> None:
    """Measure what a bundle withholds, how its members compare, and what tricks can do; write docs/ensemble.md."""
    loaded, rows = load_bundle(bundle), load_rows(work_dir / "rows.jsonl")
    figures = _measured(loaded, rows, work_dir, tricks)
    trust = trust_page.rendered(loaded, suite_figures(bundle)) if loaded.certificate else ""
    page = ensemble_page.rendered(loaded, work_dir, figures, trust)
    if docs is not None:
        docs.write_text(page, encoding="utf-8")
    typer.echo(page)


def _measured(bundle: Bundle, rows: Sequence[Row], work_dir: Path, tricks: bool) -> Figures:
    canaries, shape = load_canaries(), in_split(rows, "shape")
    *suites, judged = scored(bundle.path, [*withheld_suites(rows, canaries), ("shape", shape)], "scoring suites")
    shape, evidence = asked(shape, judged.evidence)
    judged = Suite("shape", shape, evidence)
    verdicts = [decide(item, bundle.policy) for item in judged.evidence]
    by_category = {name: _shape_scores(shape, verdicts, place) for place, name in enumerate(CATEGORIES)}
    floor_sets = _floor_sets(rows, by_category[FLOOR_CATEGORY])
    return Figures(
        suites=suites,
        rules={(name, rate): _rules(found, rate) for name, found in by_category.items() for rate in MISS_RATES},
        correlations={n: miss_correlations(s.llrs, s.harmful, MISS_RATES[-1]) for n, s in by_category.items()},
        floor={
            (source, measure): paired(
                {**mine.llrs, "panel": mine.panel, "floor": floor}, "floor", mine.harmful, mine.clusters, take
            )
            for source, (mine, floor) in floor_sets.items()
            for measure, take in metrics.MEASURES.items()
        },
        floor_sizes={source: (int(m.harmful.sum()), int((~m.harmful).sum())) for source, (m, _) in floor_sets.items()},
        flips=verdict_flips(bundle, work_dir, judged),
        tricks=check_tricks(bundle, rows, canaries) if tricks else None,
    )


def _rules(found: ShapeScores, rate: float) -> list[Compared]:
    return rules_compared(found.llrs, found.panel, found.harmful, found.clusters, rate)


def _shape_scores(rows: Sequence[Row], verdicts: Sequence[Verdict], place: int) -> ShapeScores:
    known, harmful = metrics.labelled(rows, CATEGORIES[place])
    kept = [(row, verdict.categories[place]) for row, verdict, use in zip(rows, verdicts, known, strict=True) if use]
    members = sorted(kept[0][1].llr)
    return ShapeScores(
        [row for row, _ in kept],
        harmful[known],
        {name: np.array([result.llr[name] for _, result in kept]) for name in members},
        np.array([result.panel_score for _, result in kept], float),
    )


def _floor_sets(rows: Sequence[Row], shape: ShapeScores) -> dict[str, tuple[ShapeScores, Floats]]:
    """Per source: the `shape` rows with our scores, and those of the n-gram floor trained on the same rows as we."""
    plain = [row for row in in_split(rows, "fit") if row.source != "tricked"]
    floor = floor_scores(plain, shape.rows, FLOOR_CATEGORY)
    of_source = np.array([row.source for row in shape.rows])
    return {source: (shape.among(source), floor[of_source == source]) for source in FLOOR_SOURCES}
