"""Rows and results in the work folder: JSON lines that any tool can read, and digests that say whether to redo a step."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interlock_lab.training.rows import Row


def save_rows(rows: Sequence[Row], path: Path) -> None:
    lines = (json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) for row in rows)
    write_text(path, "\n".join(lines) + "\n")


def load_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [_row(json.loads(line)) for line in lines]


def _row(values: dict[str, Any]) -> Row:
    values["keys"] = tuple(values["keys"])
    return Row(**values)


def save_json(value: object, path: Path) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Beside and renamed: an interruption leaves the old file or the new one, never half of either."""
    beside = path.with_name(path.name + ".writing")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def digest_of(*parts: object) -> str:
    """A digest of files' contents and of values that print deterministically."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else repr(part).encode()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:16]
