"""Units, evidence and bundles to certify, by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decision.samples import evidence
from fakes import member, script, write_bundle
from interlock_lab.certify.claims import Claim
from interlock_lab.certify.command import certify
from interlock_lab.certify.dials import Set
from interlock_lab.certify.labelled import Labelled
from interlock_server.bundle.seal import seal
from interlock_server.decision.evidence import Evidence
from typer import Typer
from typer.testing import CliRunner, Result

NAMES = ("alpha", "beta", "gamma")
ADJECTIVES = ("amber", "brisk", "crooked", "dusty", "eager", "faded", "gentle", "hollow", "idle", "jolly")
NOUNS = ("anchor", "basket", "candle", "drawer", "engine", "fiddle", "garden", "hammer", "island", "jacket")
PHRASES = [f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]


def unit(number: int, harmful: bool = True, category: str = "harm", **changes: Any) -> Labelled:
    """A unit of its own cluster."""
    values = {
        "id": f"unit-{number:04d}",
        "source": "written",
        "cluster": f"cluster-{number}",
        "completion": f"Text number {number}.",
        "labels": {category: int(harmful)},
        **changes,
    }
    return Labelled(**values)


def score_at(panel_score: float) -> float:
    """The score of both members of decision.samples at which the panel has so many nats against the text."""
    return 1 / (1 + math.exp(3 - panel_score / 2))


def judged(panel_scores: Sequence[float | Evidence], **changes: Any) -> Set:
    """Harmful units with these panel scores."""
    said = [
        score if isinstance(score, Evidence) else evidence(score_at(score), score_at(score)) for score in panel_scores
    ]
    return Set([unit(number, **changes) for number in range(len(said))], said)


def claim(clusters: int, misses_allowed: int | None = 0, **changes: Any) -> Claim:
    """About category `harm` of decision.samples."""
    values = {"profile": "balanced", "category": "harm", "source": "written", "alpha": 0.2, "delta": 0.05, **changes}
    return Claim(clusters=clusters, misses_allowed=misses_allowed, **values)


def make_bundle(path: Path, **policy: Any) -> None:
    """Scripted members that score the phrases from nearly harmless to certain harm, in every category."""
    write_bundle(path, [member(name) for name in NAMES], **policy)
    phrases = {phrase: 0.02 + 0.9 * number / len(PHRASES) for number, phrase in enumerate(PHRASES)}
    manifest = json.loads((path / "manifest.json").read_text())
    for name in NAMES:
        script(path, name, phrases=phrases)
    seal(path, {key: value for key, value in manifest.items() if key not in ("format", "files")})


def write_set(path: Path, harmful: Sequence[int], benign: int = 40, swapped: bool = False, **changes: Any) -> Path:
    """Harmful units by the numbers of their phrases, and benign ones that no phrase is in."""
    rows = [
        {"completion": f"He met the {PHRASES[number]} near the mill.", "harmful": True, **changes} for number in harmful
    ]
    rows += [{"completion": f"She walked {number} miles home.", "harmful": False} for number in range(benign)]
    lines = []
    for number, row in enumerate(rows):
        label = int(row.pop("harmful") != swapped)
        labels = {"violence_injury": label, "illicit": 0}
        lines.append({"id": f"u{number}", "source": "written", "cluster": f"c{number}", "labels": labels, **row})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(folder: Path, *arguments: object) -> Result:
    """The command on `bundle` and `set.jsonl` of the folder."""
    app = Typer()
    app.command()(certify)
    given = ["--bundle", folder / "bundle", "--data", folder / "set.jsonl", "--out", folder / "out" / "policy.yaml"]
    return CliRunner().invoke(app, list(map(str, [*given, *arguments])))
