"""The exchanges written for this project, or mined from traffic: complete labels, severity, clarity, minimal pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlock_lab.training.rows import CATEGORIES, Row
from interlock_lab.training.sources.files import json_lines

log = logging.getLogger(__name__)

PROMPT_CHARACTERS_MIN = 25
SOURCES = ("written", "mined")


def read(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.glob("*.jsonl")):
        for item in json_lines(path):
            try:
                yield read_row(path.stem, item)
            except (KeyError, TypeError, ValueError) as problem:
                log.warning("SKIPPED a row of %s: %s", path.name, type(problem).__name__)


def read_row(stem: str, item: dict[str, Any]) -> Row:
    source = item.get("source", "written")
    if source not in SOURCES:
        raise ValueError("rows of other sources are not in these files")
    keys = [f"pair:{item['pair']}"] if item["pair"] else []  # no pair: a cluster of its own
    if len(item["prompt"]) >= PROMPT_CHARACTERS_MIN:
        keys.append(f"context:{item['prompt'].lower().strip()}")
    return Row(
        id=item["id"],
        source=f"{source}/{stem}",
        prompt=item["prompt"],
        completion=item["completion"],
        labels={name: float(item["labels"][name]) for name in CATEGORIES},
        severity=int(item["severity"]),
        clarity=item["clarity"],
        label_source=source,
        weight=1.0 if item["clarity"] == "clear" else 0.5,
        keys=tuple(keys),
    )
