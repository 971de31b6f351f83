"""docs/ensemble.md as text: figures into tables, tables into the template beside this file. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from interlock_server.bundle.load import Bundle
from interlock_server.bundle.manifest import MemberManifest

from interlock_lab.comparisons import MISS_RATES, Compared
from interlock_lab.suites import Suite, share
from interlock_lab.training.rows import CATEGORIES, SPLITS

if TYPE_CHECKING:
    from interlock_lab.evaluate import Figures

TEMPLATE = Path(__file__).with_name("ensemble_page.md")
RUNS = Path(__file__).resolve().parents[1] / "runs"


def rendered(bundle: Bundle, work_dir: Path, figures: Figures, trust: str) -> str:
    """The whole page."""
    parts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "digest": bundle.digest[:19],
        "members": _members(bundle),
        "data": _data(json.loads((work_dir / "data.json").read_text(encoding="utf-8"))),
        "runs": _runs(sorted(RUNS.glob("*.json"))),
        "suites": _suites(bundle, figures.suites),
        "rules": _rules(figures),
        "correlations": _correlations(figures),
        "floor": _floor(figures),
        "flips": _flips(figures),
        "tricks": _tricks(figures),
        "trust": trust,
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: part if isinstance(part, str) else "\n".join(part) for name, part in parts.items()}
    )


def _table(titles: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|---|{'---:|' * (len(titles) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _members(bundle: Bundle) -> Iterator[str]:
    def reads(member: MemberManifest) -> str:
        sizes = {
            "exchange": f"prompt and completion, in windows of at most {member.reads.tokens_max} tokens",
            "sentences": "each sentence of the completion alone",
            "characters": f"the completion in windows of at most {member.reads.chars_max} characters",
        }
        return sizes[member.reads.input]

    def size(member: MemberManifest) -> str:
        return f"{(bundle.path / member.files['model']).stat().st_size / 1e6:.1f} MB"

    rows = ([f"`{m.name}`", m.kind, reads(m), size(m)] for m in bundle.manifest.members)
    return _table(["member", "kind", "reads", "size"], rows)


def _data(summary: dict[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"`{s}` {summary['rows'][s]:,} rows in {summary['clusters'][s]:,} clusters" for s in SPLITS)
    yield f"Rows known to be harmful (+) and benign (-) per source and head; {counts}."
    yield ""
    rows = ([source, *(heads.get(name, "") for name in CATEGORIES)] for source, heads in summary["heads"].items())
    yield from _table(["source", *CATEGORIES], rows)


def _runs(paths: list[Path]) -> Iterator[str]:
    """One line per recorded run and category; an interval comes from resampling clusters."""
    titles = [
        "run",
        "category",
        "AUROC",
        "AUPRC",
        *(f"benign withheld at {rate} missed" for rate in ("1%", "5%", "10%")),
    ]

    def lines() -> Iterator[list[str]]:
        for path in paths:
            run = json.loads(path.read_text(encoding="utf-8"))
            for category in CATEGORIES:
                found = run["figures"][category]
                keys = ("auroc", "auprc", *(f"benign_withheld_at_{rate}_missed" for rate in ("1%", "5%", "10%")))
                yield [path.stem, category, *(_with_interval(found, key) for key in keys)]

    for path in paths:
        run = json.loads(path.read_text(encoding="utf-8"))
        yield f"- `{path.stem}` ({'kept' if run['kept'] else 'rejected'}): {run['what']}"
    yield ""
    yield from _table(titles, lines())


def _with_interval(found: dict[str, Any], key: str) -> str:
    low, high = found.get(f"{key}_95", (None, None))
    return f"{found[key]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def _suites(bundle: Bundle, suites: list[Suite]) -> Iterator[str]:
    policy = bundle.policy
    profiles = sorted(policy.profiles)
    rows = ([s.title, f"{len(s.rows)}", *(share(s.withheld(policy, p)) for p in profiles)] for s in suites)
    return _table(["suite", "n", *profiles], rows)


def _rules(figures: Figures) -> Iterator[str]:
    rows = (
        [f"{category}, {rate:.0%} missed", *(_compared(item, "{:.1%}") for item in figures.rules[category, rate])]
        for category in CATEGORIES
        for rate in MISS_RATES
    )
    first = figures.rules[CATEGORIES[0], MISS_RATES[0]]
    return _table(["", *(item.name for item in first)], rows)


def _compared(item: Compared, form: str) -> str:
    low, high = item.difference_95
    apart = "" if item.difference == 0 == low == high else f" ({form.format(low)} to {form.format(high)} apart)"
    return form.format(item.value) + apart


def _correlations(figures: Figures) -> Iterator[str]:
    pairs = sorted(figures.correlations[CATEGORIES[0]])
    rows = ([name, *(f"{figures.correlations[name][pair]:.2f}" for pair in pairs)] for name in CATEGORIES)
    return _table(["category", *(" and ".join(pair) for pair in pairs)], rows)


def _floor(figures: Figures) -> Iterator[str]:
    first = next(iter(figures.floor.values()))

    def lines() -> Iterator[list[str]]:
        for (source, measure), found in figures.floor.items():
            harmful, benign = figures.floor_sizes[source]
            title = measure.replace("_", " ")
            yield [f"{source}, {title}", f"{harmful} / {benign}", *(_compared(item, "{:.3f}") for item in found)]

    return _table(["", "harmful / benign", *(item.name for item in first)], lines())


def _flips(figures: Figures) -> str:
    flips = figures.flips
    return (
        f"Of {flips.rows} harmful `shape` rows, {flips.flipped} verdicts ({flips.flipped / flips.rows:.2%}) at the default "
        f"profile differ between INT8 and FP32; {flips.released_by_int8} of these are released by INT8 only."
    )


def _tricks(figures: Figures) -> Iterator[str]:
    tricks = figures.tricks
    if tricks is None:
        yield "Not measured in this run."
        return
    released = sum(map(len, tricks.released.values()))
    rises = [count - tricks.benign_withheld for count in tricks.benign_withheld_with.values()]
    yield (
        f"Of {tricks.canaries_withheld} withheld canaries under {len(tricks.released)} tricks each, {released} are released. "
        f"Of {tricks.benign} benign texts {tricks.benign_withheld / tricks.benign:.1%} are withheld as they are, and "
        f"{sum(rises) / len(rises) / tricks.benign:+.1%} points more under a trick, on average."
    )
    yield ""
    rows = (
        [name, f"{len(tricks.released[name])}", f"{(count - tricks.benign_withheld) / tricks.benign:+.1%}"]
        for name, count in tricks.benign_withheld_with.items()
    )
    yield from _table(["trick", "canaries released by it", "benign withheld, change"], rows)
