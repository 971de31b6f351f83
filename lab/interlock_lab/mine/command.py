"""`interlock mine`: a queue of exchanges on which the members disagree, and what labels say of them. Only counts are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from interlock_server.audit.reader import units
from interlock_server.errors import ConfigError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from interlock_lab.mine import labels, queue
from interlock_lab.mine.candidates import Found, find
from interlock_lab.mine.figures import Figures, Judged, Share, figures
from interlock_lab.mine.labels import Label
from interlock_lab.mine.queue import Item
from interlock_lab.mine.sampling import Weighted, draw
from interlock_lab.replay.inputs import read_key


def mine(
    logs: Annotated[list[Path] | None, typer.Argument(metavar="[LOG]...", help="Folders of audit logs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the queue here, as JSONL.")] = None,
    with_csv: Annotated[bool, typer.Option("--csv", help="Also beside it as CSV, to be filled in.")] = False,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="About how many to draw.")] = 200,
    random_share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="The share of them that is drawn at random, to compare with.")
    ] = 0.2,
    seed: Annotated[str, typer.Option(help="Another one draws others.")] = "",
    private_key: Annotated[
        Path | None, typer.Option(help="Opens encrypted texts: a file with 32 bytes in hex.")
    ] = None,
    label: Annotated[
        Path | None, typer.Option(help="Labels for --queue: JSONL, CSV, or an audit log with reports.")
    ] = None,
    queue_file: Annotated[Path | None, typer.Option("--queue", help="The queue that was labelled.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Write labelled texts here, as rows to fit on.")] = None,
) -> None:
    """Draw from audit logs what is worth a label, or (with --label and --queue) take labels back.

    One exchange of every conversation, near-duplicates once; first where members are far apart and the text is near the
    dial. Every exchange could have been drawn with a known probability, so that labels also estimate how much harm is
    released.
    """
    if label is not None and queue_file is not None and not logs and out is None:
        _take_back(label, queue_file, rows)
    elif logs and out is not None and label is None and queue_file is None and rows is None:
        _draw(logs, out, with_csv, count, random_share, seed, read_key(private_key))
    else:
        raise ConfigError("mine: give LOG... and --out to draw a queue, or --label and --queue to take labels back")


def _draw(
    logs: list[Path], out: Path, with_csv: bool, count: int, random_share: float, seed: str, private_key: bytes | None
) -> None:
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("reading", total=sum(unit.size_bytes for log in logs for unit in units(log)))
        found = find(logs, private_key, seed, lambda size_bytes: progress.advance(bar, size_bytes))
    everyone = [Weighted(one.record.verdict_id, one.group, one.weight) for one in found.candidates]
    drawn = draw(everyone, count, random_share, seed)
    items = queue.items(found.candidates, drawn, found.share, logs, private_key)
    queue.write_jsonl(out, items)
    if with_csv:
        queue.write_csv(out.with_suffix(".csv"), items)
    _print_drawn(found, items)


def _print_drawn(found: Found, items: list[Item]) -> None:
    groups = len({one.group for one in found.candidates})
    textless = sum(item.completion is None for item in items)
    table = Table("", "mined", "random")
    for name, released in (("released", True), ("withheld", False)):
        counts = (
            sum(item.drawn_as == stratum and item.released == released for item in items)
            for stratum in ("mined", "random")
        )
        table.add_row(name, *map(str, counts))
    console = Console()
    console.print(f"{len(found.candidates):,} exchanges, {groups:,} when those that belong together count once")
    console.print(table)
    notes = {
        f"they are a share of {found.share:g} of all, drawn at random": found.share < 1,
        f"{textless} have no text that could be read: their request_id says where to look": textless > 0,
        f"{found.damaged} damaged lines were passed over": found.damaged > 0,
        f"{found.newer} verdicts are of a newer format and were passed over": found.newer > 0,
    }
    for note, holds in notes.items():
        if holds:
            console.print(note)


def _take_back(label: Path, queue_file: Path, rows: Path | None) -> None:
    items, given = queue.read(queue_file), labels.read(label)
    labelled = {name: one for name, one in given.items() if name in items}
    clear = [_judged(items[name], one) for name, one in labelled.items() if one.clarity == "clear"]
    console = Console()
    console.print(
        f"{len(labelled)} of {len(items)} items are labelled, {len(labelled) - len(clear)} of them unclear;"
        f" {len(given) - len(labelled)} labels are of other verdicts"
    )
    _print_figures(figures(clear), console)
    if rows is not None:
        written = list(taught(items, labelled))
        queue.write_lines(rows, map(json.dumps, written))
        console.print(f"{len(written)} rows written, for `fit` only")


def taught(items: Mapping[str, Item], labelled: Mapping[str, Label]) -> Iterable[dict[str, object]]:
    """Rows in the schema of lab/data/written, of those with a text and a mark for every category.

    The loader lets a row of this source into `fit` only: what was picked for its score must not judge scores.
    """
    for name, label in labelled.items():
        item = items[name]
        if item.completion is not None and label.categories is not None:
            yield {
                "id": f"mined-{name}",
                "source": "mined",
                "pair": "",
                "prompt": item.prompt or "",
                "completion": item.completion,
                "labels": dict(label.categories),
                "severity": label.severity,
                "clarity": label.clarity,
                "kind": item.drawn_as,
            }


def _judged(item: Item, label: Label) -> Judged:
    return Judged(item.drawn_as, item.propensity, item.released, label.harmful)


def _print_figures(found: Figures, console: Console) -> None:
    table = Table("share (95 % interval)", "mined", "random")
    table.add_row("errors: harm released, or fine and withheld", _shown(found.mined), _shown(found.random))
    table.add_row("harm released", _shown(found.mined_missed), _shown(found.random_missed))
    console.print(table)
    console.print(f"harm among what is released, from all items by their propensity: {_shown(found.miss_rate)}")
    console.print(f"the same, from the random items alone:                           {_shown(found.miss_rate_random)}")


def _shown(share: Share) -> str:
    if not share.of:
        return "nothing labelled"
    return f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%}, n = {share.of:.0f})"
