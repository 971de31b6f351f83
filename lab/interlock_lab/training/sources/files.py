"""Reading the public sets' files, and the few text repairs that all of them need. Nothing here knows a label."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_SPACE_BEFORE = re.compile(r"\s+([,.;:!?)\]}%]|n't\b|'(?:s|re|ve|ll|d|m)\b)")
_SPACE_AFTER = re.compile(r"([(\[{£$])\s+")
_MENTION = re.compile(r"@\w+")
_LINK = re.compile(r"https?://\S+|\[URL\]")
_ENTITY = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&#8220;": '"', "&#8221;": '"', "_x000D_": " ", "[USER]": "@user"}


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Skips, loudly, a line that does not parse: files may be in the middle of being written."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError:
                log.warning("SKIPPED %s line %d: not JSON", path.name, number)


def json_document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**9)
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def detokenised(text: str) -> str:
    """Corpus spacing ("well , he did n't") back to ordinary spacing, so that spacing cannot give away the source."""
    text = text.replace("``", '"').replace("''", '"')
    text = _SPACE_AFTER.sub(r"\1", _SPACE_BEFORE.sub(r"\1", text))
    return re.sub(r"\s+", " ", text).strip()


def social(text: str) -> str:
    """A post without names, links and HTML entities."""
    for entity, plain in _ENTITY.items():
        text = text.replace(entity, plain)
    return re.sub(r"\s+", " ", _MENTION.sub("@user", _LINK.sub("", text))).strip()


def mostly_latin(text: str) -> bool:
    foreign = sum(character > "\u024f" and character.isalpha() for character in text)
    return foreign <= 0.02 * max(1, len(text))
