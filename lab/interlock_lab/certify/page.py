"""The report as one page that needs nothing else: tables, and the plots within it. Readable in light and in dark."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from interlock_lab.certify.figures import Figures
from interlock_lab.certify.report import Section, headline, sections

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Interlock certificate</title>
<style>
:root { --ink: #1c2024; --paper: #fff; --line: #d4d8dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #15181c; --line: #3a4048; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; background: #fff; margin: 0.3rem 0.6rem 0.3rem 0; }
small { overflow-wrap: anywhere; }
</style>
<h1>Interlock certificate</h1>
<p>$headline</p>
$body
<p><small>models $models<br>policy $policy<br>set $set, opened $opened</small></p>
</html>
""")


def rendered(figures: Figures, plots: Sequence[Path]) -> str:
    """The whole page."""
    return _PAGE.substitute(
        headline=escape(headline(figures)),
        body="\n".join(line for section in sections(figures) for line in _section(section, plots)),
        models=escape(figures["models"]),
        policy=escape(figures["policy"]),
        set=escape(figures["set"]["digest"]),
        opened=escape(figures["opening"]["opened"]),
    )


def _section(section: Section, plots: Sequence[Path]) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    for sentence in section.sentences:
        yield f"<p>{escape(sentence)}</p>"
    if section.rows:
        yield "<table>"
        yield _line(section.header, "th")
        yield from (_line(row, "td") for row in section.rows)
        yield "</table>"
    for plot in plots if section.plots else ():
        if plot.stem.startswith(section.plots):
            data = b64encode(plot.read_bytes()).decode()
            yield f'<img alt="{escape(plot.stem.replace("_", " "))}" src="data:image/png;base64,{data}">'


def _line(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
