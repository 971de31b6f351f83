"""Where harm begins in real texts: annotations without the texts, joined with the rows of the public sets.

What does not match the text that was annotated is an error, never left out: a delay from a wrong place looks like any
other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, validate
from interlock_server.text.windows import split_sentences
from pydantic import Field

from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import Row

ONSETS = PROJECT_DATA / "onsets.jsonl"
SPLITS_ALLOWED = ("shape", "fit")


class Onset(Settings):
    """One annotation. `onset_byte` begins the first harmful sentence, `end_byte` ends the last one."""

    source: str
    id: str
    sha256: str
    bytes: int = Field(gt=0)
    sentences: int = Field(gt=0)
    category: Literal["violence_injury", "illicit", "hate_harassment", "self_harm"]
    onset_byte: int = Field(ge=0)
    onset_sentence: int = Field(ge=0)
    end_byte: int = Field(gt=0)
    clear: bool


@dataclass(frozen=True)
class HarmfulText:
    """A row and where its harm begins; the row's `cluster` says which texts are not independent of each other."""

    row: Row
    onset: Onset


def load_onsets(path: Path = ONSETS) -> list[Onset]:
    """Every line of the file; raises ConfigError naming the line that is wrong."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from error
    return [_onset(line, f"{path.name}: line {number}") for number, line in enumerate(lines, 1)]


def joined(onsets: Sequence[Onset], rows: Iterable[Row]) -> list[HarmfulText]:
    """The annotated rows, in the order of the annotations; raises ConfigError with a line for each that does not match."""
    by_name = {(row.source, row.id): row for row in rows}
    found = [(onset, by_name.get((onset.source, onset.id))) for onset in onsets]
    wrong = [f"{onset.id}: {complaint}" for onset, row in found if (complaint := _mismatch(onset, row))]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return [HarmfulText(row, onset) for onset, row in found if row is not None]


def _onset(line: bytes, source: str) -> Onset:
    try:
        content = json.loads(line)
    except ValueError:
        raise ConfigError(f"{source} is not JSON") from None
    return validate(Onset, content, source)


def _mismatch(onset: Onset, row: Row | None) -> str | None:
    if row is None:
        return f"{onset.source} has no such row"
    if row.split not in SPLITS_ALLOWED:
        return f"the row is in split {row.split!r}, and only {' and '.join(SPLITS_ALLOWED)} may be looked at"
    if hashlib.sha256(row.completion.encode()).hexdigest() != onset.sha256:
        return "the completion is not the one that was annotated (sha256)"
    bounds = _sentence_bounds(row.completion)
    if (onset.sentences, onset.bytes) != (len(bounds) - 1, bounds[-1]):
        return f"{len(bounds) - 1} sentences in {bounds[-1]} bytes, annotated: {onset.sentences} in {onset.bytes}"
    begins = dict(enumerate(bounds[:-1])).get(onset.onset_sentence)
    if onset.onset_byte != begins or onset.end_byte not in bounds[onset.onset_sentence + 1 :]:
        return "onset_byte, onset_sentence and end_byte do not agree with where its sentences begin"
    return None


def _sentence_bounds(text: str) -> list[int]:
    """The bytes at which sentences begin, and the length of the text."""
    return [len(text[:start].encode()) for start, _ in split_sentences(text)] + [len(text.encode())]
