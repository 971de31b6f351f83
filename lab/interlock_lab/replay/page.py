"""The figures as one page that needs nothing else: tables, and charts as SVG. Readable in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template

from interlock_lab.replay.figures import CONFIDENCE, Figures
from interlock_lab.replay.report import TITLES, failures, headline, margin_rows, notes, place, sections, share_text

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Interlock replay</title>
<style>
:root { --ink: #1c2024; --paper: #fff; --line: #d4d8dd; --before: #8a94a0; --after: #2563c9; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #15181c; --line: #3a4048; --before: #7b8794; --after: #6ea8fe; --bad: #ff8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
td { font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.before { fill: var(--before); } .after { fill: var(--after); } .bad { color: var(--bad); }
</style>
<h1>Interlock replay</h1>
<p>$headline</p>
$body
</html>
""")
_CHART_WIDTH, _CHART_HEIGHT, _AXIS_HEIGHT = 900, 220, 40


def rendered(report: Figures) -> str:
    """The whole page."""
    parts: list[str] = []
    for title, section in sections(report):
        parts += _section(title, section)
    for direction, title in TITLES.items():
        if report[direction]["count"]:
            parts += _flips(title, report[direction])
    parts += [f"<p>{escape(line)}</p>" for line in notes(report)]
    parts += ["<h2>Margins in nats</h2>", _chart(margin_rows(report["margins"]))]
    for title, lines in failures(report):
        parts += [
            f'<h2 class="bad">{escape(title)}</h2>',
            "<ul>",
            *(f"<li>{escape(line)}</li>" for line in lines),
            "</ul>",
        ]
    return _PAGE.substitute(headline=escape(headline(report)), body="\n".join(parts))


def _section(title: str, section: Figures) -> Iterable[str]:
    yield f"<h2>{section['judged']:,} {escape(title)}</h2>"
    profiles = [*section["profiles"].items(), ("all", section)]
    keys = ("withheld_before", "withheld_after", "to_release", "to_withhold")
    rows = [[name or "(default)", *(share_text(row[key]) for key in keys)] for name, row in profiles]
    yield _table(["profile", "withheld before", "withheld now", *TITLES.values()], rows)
    for direction, name in TITLES.items():
        yield f"<h3>{escape(name)}: {share_text(section[direction])}</h3>"
        if section[direction]["count"]:
            yield _causes(section[f"{direction}_by_cause"])
    yield f"<p>Same decision, but other reasons or another action: {section['reasoned_anew']:,}</p>"
    yield "<h3>From outcome to outcome</h3>"
    yield _table(["before", "now", "count"], [[c["from"], c["to"], f"{c['count']:,}"] for c in section["matrix"]])


def _causes(causes: Sequence[Figures]) -> str:
    rows = [[row["category"] or "-", row["reason"], share_text(row)] for row in causes]
    return _table(["category", "reason", f"count, share and {CONFIDENCE:.0%} interval"], rows)


def _flips(title: str, listed: Figures) -> Iterable[str]:
    yield f"<h2>{escape(title)}: the first {len(listed['first']):,} of {listed['count']:,}</h2>"
    titles = [
        "place",
        "verdict",
        "caller",
        "profile",
        "reasons before",
        "reasons now",
        "margin before",
        "margin now",
        "reported",
    ]
    yield _table(titles, [_flip(flip) for flip in listed["first"]])


def _flip(flip: Figures) -> list[str]:
    sides = flip["before"], flip["after"]
    reasons = [", ".join(side["reasons"]) for side in sides]
    margins = ["" if side["margin"] is None else f"{side['margin']:+.3f}" for side in sides]
    return [place(flip), flip["verdict_id"], flip["caller"], flip["profile"], *reasons, *margins, flip["feedback"]]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return "\n".join(["<table>", line(titles, "th"), *(line(row, "td") for row in rows), "</table>"])


def _chart(rows: Sequence[tuple[str, int, int]]) -> str:
    """Two bars for each row: before and now."""
    if not rows:
        return "<p>none</p>"
    most = max(max(before, after) for _, before, after in rows) or 1
    step = _CHART_WIDTH / len(rows)
    parts = [
        f'<svg viewBox="0 0 {_CHART_WIDTH} {_CHART_HEIGHT + _AXIS_HEIGHT}" role="img" aria-label="histogram of margins">'
    ]
    for number, (label, *counts) in enumerate(rows):
        for side, (name, count) in enumerate(zip(("before", "after"), counts, strict=True)):
            height = _CHART_HEIGHT * count / most
            x, width = step * (number + 0.1 + 0.4 * side), step * 0.4
            parts.append(
                f'<rect class="{name}" x="{x:.1f}" y="{_CHART_HEIGHT - height:.1f}" width="{width:.1f}" height="{height:.1f}">'
                f"<title>{escape(label)}: {count:,} {'now' if side else 'before'}</title></rect>"
            )
        parts.append(_label(number, label, step, len(rows)))
    return "\n".join(
        [*parts, "</svg>", f"<p>Grey: before. Blue: now. The highest bar stands for {most:,} verdicts.</p>"]
    )


def _label(number: int, label: str, step: float, count: int) -> str:
    """Every few bars, so that labels do not meet."""
    if number % max(1, count // 15):
        return ""
    x = step * (number + 0.5)
    return f'<text x="{x:.1f}" y="{_CHART_HEIGHT + 16}" text-anchor="middle">{escape(label)}</text>'
