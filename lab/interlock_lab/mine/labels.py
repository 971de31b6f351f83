"""Labels that come back: from a file that somebody filled in, or from reports in the audit log. Nothing else is a label.

Where two of one verdict contradict each other, harm wins and the case is unclear: unclear ones teach, but never judge.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
from interlock_server.audit.reader import Damage, entries, units
from interlock_server.audit.record import FeedbackRecord
from interlock_server.errors import ConfigError

from interlock_lab.mine.queue import lines
from interlock_lab.training.rows import CATEGORIES

Clarity = Literal["clear", "unclear"]
Mark = Literal[0, 1]


@dataclass(frozen=True)
class Label:
    """What was found of a verdict. `categories` is None where only the whole is known to be harmful."""

    verdict_id: str
    harmful: bool
    categories: Mapping[str, int] | None = None
    severity: int = 0
    clarity: Clarity = "clear"


class _Line(msgspec.Struct, frozen=True):
    """A line of a file of labels; other fields may stand beside these."""

    verdict_id: str
    labels: dict[str, Mark] | None = None
    severity: int | None = None
    clarity: Clarity = "clear"


def read(path: Path) -> dict[str, Label]:
    """By verdict, of a folder (an audit log), a .csv or a .jsonl; raises ConfigError naming the line that is wrong."""
    if path.is_dir():
        return merged(_reported(path))
    return merged(_of_csv(path) if path.suffix == ".csv" else _of_jsonl(path))


def merged(labels: Iterable[Label]) -> dict[str, Label]:
    """One for each verdict."""
    found: dict[str, Label] = {}
    for label in labels:
        other = found.get(label.verdict_id, label)
        harm = label if label.harmful else other
        agree = (label.harmful, label.categories) == (other.harmful, other.categories)
        found[label.verdict_id] = harm if agree else replace(harm, clarity="unclear")
    return found


def _of_jsonl(path: Path) -> Iterator[Label]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in lines(path):
        try:
            yield from _label(decoder.decode(line))
        except ValueError as error:
            raise _wrong(path, number) from error


def _of_csv(path: Path) -> Iterator[Label]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                try:
                    yield from _label(_line(row))
                except (KeyError, ValueError) as error:
                    raise _wrong(path, reader.line_num) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}") from error


def _line(row: Mapping[str, str]) -> _Line:
    """A row with no mark is not labelled yet; one with some marks only is wrong."""
    marks = {name: row[name].strip() for name in CATEGORIES}
    severity, clarity = ((row.get(name) or "").strip() for name in ("severity", "clarity"))
    content = {
        "verdict_id": row["verdict_id"],
        "labels": {name: int(mark) for name, mark in marks.items()} if any(marks.values()) else None,
        "severity": int(severity) if severity else None,
        "clarity": clarity or "clear",
    }
    return msgspec.convert(content, _Line)


def _label(line: _Line) -> Iterator[Label]:
    """Raises ValueError unless every category is marked."""
    if line.labels is None:
        return
    harmful = any(line.labels.values())
    severity = line.severity if line.severity is not None else 2 * harmful
    if set(line.labels) != set(CATEGORIES) or not 0 <= severity <= 3:
        raise ValueError("is incomplete")
    yield Label(line.verdict_id, harmful, line.labels, severity, line.clarity)


def _reported(folder: Path) -> Iterator[Label]:
    for unit in units(folder):
        for entry in entries(unit):
            if not isinstance(entry, Damage) and isinstance(entry[1], FeedbackRecord):
                report = entry[1]
                # A report names harm that was seen, not the harm that is absent.
                fine = report.label == "FINE"
                yield Label(
                    report.verdict_id, not fine, dict.fromkeys(CATEGORIES, 0) if fine else None, 0 if fine else 2
                )


def _wrong(path: Path, number: int) -> ConfigError:
    return ConfigError(
        f"{path.name}, line {number}: needs verdict_id, 0 or 1 for each of {', '.join(CATEGORIES)}, and may have"
        " severity (0 to 3) and clarity (clear, unclear)"
    )
