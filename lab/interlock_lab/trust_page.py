"""The part of docs/ensemble.md on what is certified, held back, watched for and claimed: committed figures into Markdown.

`make trust` writes the figures; they are refused for a bundle that they were not measured on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlock_server.bundle.load import Bundle
from interlock_server.errors import ConfigError

from interlock_lab.certify.report import markdown
from interlock_lab.gate.figures import SuiteTable, read_figures
from interlock_lab.gate.section import section as gate_section
from interlock_lab.story import page as stories

CERTIFY, GATE = "certify.json", "gate.json"
FIGURES = Path(__file__).resolve().parents[1] / "trust"
PLOTS = Path(__file__).resolve().parents[2] / "docs" / "certificate"
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def rendered(bundle: Bundle, suites: SuiteTable, figures: Path = FIGURES) -> str:
    """All sections; raises ConfigError for figures of other models or another policy. `suites` is what the gate does now."""
    certified = _json(figures / CERTIFY)
    if (certified["models"], certified["policy"]) != (bundle.models_digest, bundle.policy.digest):
        raise ConfigError(f"{figures / CERTIFY}: is about other models or another policy; run `make trust` anew")
    parts = [
        "## Certificates\n",
        markdown(certified, [f"{PLOTS.name}/{path.name}" for path in sorted(PLOTS.glob("*.png"))]),
        *_simulated(_json(RESULTS / "certify_simulation.json")),
        *_prefixes(_json(RESULTS / "hold_back.json")),
        gate_section(read_figures(figures / GATE, suites)),
        *_drift(_json(RESULTS / "drift.json")),
        stories.section(bundle),
    ]
    return "\n".join(parts)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _simulated(found: dict[str, Any]) -> Iterator[str]:
    worlds = found["worlds"]
    loose = [world for world in worlds if world["honest"] and world["ratio"] > 3]
    yield "### Is the method honest\n"
    if loose:
        yield (
            f"**Looser than wanted** (bound above three times the truth at the median) in {len(loose)} worlds, those where "
            "labels are wrong: a unit that is harmful by its label only cannot be caught, and the bound pays for it.\n"
        )
    yield (
        f"{found['trials']:,} trials in each of {len(worlds)} invented worlds of 200 clusters with known miss rates "
        f"({found['date']}, `benchmarks/certify_simulation.py`): members whose errors are partly the same, rows of one cluster "
        "correlated, labels wrong. Coverage must not lie below its nominal share by more than three standard deviations; a "
        "bound over rows, and openings without a ledger, must be seen to fail.\n"
    )
    yield "| world | all bounds held | wanted | holds | median bound / truth |"
    yield "|---|---:|---:|---|---:|"
    for world in worlds:
        holds = "yes" if world["honest"] else "no"
        yield f"| {world['name']} | {world['coverage']:.1%} | {world['nominal']:.0%} | {holds} | {world['ratio']:.2f} |"
    yield ""


def _prefixes(found: dict[str, Any]) -> Iterator[str]:
    figures, at = found["figures"], "256"
    clear = figures["clear"]
    yield "### What no certificate covers: text that is still being written\n"
    yield (
        f"Of {clear['texts']} clearly harmful texts, among those that the whole text's verdict withholds: bytes of the first "
        f"harmful sentence came out of {clear['leaks of the withheld'][at]}, and a harmless beginning had come out (`RETRACT`) "
        f"of {clear['retracted of the withheld'][at]}. Flattered: hold-back, doubt and step were chosen on these texts; "
        f"intervals count texts, not clusters ({found['date']}, benchmarks/results/hold_back.json).\n"
    )


def _drift(found: dict[str, Any]) -> Iterator[str]:
    late = [item for item in found["planted"] if item["median"] > 2_000]
    yield "## Drift\n"
    for item in late:
        yield (
            f"**Slower than wanted**: a share of {item['share']:.0%}, shifted by {item['shift']:g} standard deviations "
            f"(distance {item['distance']}), that begins after {item['before']:,} ordinary conversations, is found after "
            f"{item['median']:,}.\n"
        )
    runs = "; ".join(
        f"{item['traffic']}: {item['latched']} of {item['runs']} streams of {item['conversations']:,} conversations latched "
        f"(at most {item['upper_95']:.2%})"
        for item in found["null"]
    )
    yield f"By simulation ({found['date']}, `benchmarks/drift_simulation.py`), limit {found['limit']}: {runs}.\n"
    yield "| mixed in | shift | distance | ordinary conversations before | found after, median | 90 % | not found in 10,000 |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for item in found["planted"]:
        yield (
            f"| {item['share']:.0%} | {item['shift']:g} | {item['distance']} | {item['before']:,} | {item['median']:,} "
            f"| {item['p90']:,} | {item['not_found_in_10000']} of {item['runs']} |"
        )
    yield ""
