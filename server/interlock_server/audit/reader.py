"""Reads an audit log, whoever is writing it meanwhile. What is damaged is a value with its place; reading goes on after it.

Every line is checked against the digest before it. After a damaged line the next one may follow its digest as it is
stored, or the digest that its record should have: so one changed byte is one damaged line.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple

from interlock_server.audit import framing, sealed
from interlock_server.audit.record import Record, SegmentStart, TextTrace, VerdictRecord, decode
from interlock_server.errors import InterlockError

LINE_SIZE_MAX = 16 * 1024 * 1024
SEAL_SIZE = 48
"""By how much an encrypted text is longer than the text."""
_SEGMENT_NAME = re.compile(r"(\d{6,})\.(log|parquet)")
_FRAME_START = 65

CUT_SHORT = "is cut short"
MISFIT = "does not fit the chain"
NO_LINE = "is not a line of a log"
NO_RECORD = "is not a record"
TOO_LONG = "is too long"
UNREADABLE = "cannot be read"


class LogError(InterlockError):
    """A folder is no audit log, or does not hold what was asked for."""


class Place(NamedTuple):
    """Where something is: line 1 is the SegmentStart, line 0 stands for the whole segment."""

    segment: int
    line: int

    def __str__(self) -> str:
        return f"segment {self.segment}, line {self.line}" if self.line else f"segment {self.segment}"


@dataclass(frozen=True)
class Damage:
    """What is wrong and where, without any content."""

    place: Place
    what: str


@dataclass(frozen=True)
class Unit:
    """What one worker reads: a whole .log, or one group of rows of a .parquet.

    `previous` is the digest before its first line; None when only that line itself says it.
    """

    path: Path
    segment: int
    first_line: int
    group: int | None
    size_bytes: int
    previous: bytes | None


class Line(NamedTuple):
    """A line as it is stored. `damage` says what is wrong with it; without digest it is no line at all."""

    place: Place
    digest: bytes | None
    record: bytes
    damage: str = ""


def segments(folder: Path) -> list[int]:
    """The numbers of the segments that are there, in order; raises LogError when there is none."""
    try:
        numbers = _numbers(folder)
    except OSError as error:
        raise LogError(f"{folder}: {error.strerror}") from error
    if not numbers:
        raise LogError(f"{folder}: is no audit log")
    return numbers


def _numbers(folder: Path) -> list[int]:
    return sorted({int(match[1]) for path in folder.iterdir() if (match := _SEGMENT_NAME.fullmatch(path.name))})


def units(folder: Path) -> list[Unit]:
    """All of a log, in order; raises LogError when the folder is no audit log."""
    return [unit for segment in segments(folder) for unit in _units_of(folder, segment)]


def _units_of(folder: Path, segment: int) -> list[Unit]:
    """The Parquet file wins; one that cannot be read, and has no log beside it, is a unit that yields Damage."""
    path, log = framing.sealed_path(folder, segment), framing.log_path(folder, segment)
    # The log is looked for first: sealing puts the Parquet file there before it removes the log.
    log_size = _size(log)
    sealed_size = _size(path)
    if sealed_size is not None:
        try:
            return units_of_parquet(path, segment)
        except sealed.Unreadable:
            if log_size is None:
                return [Unit(path, segment, 1, 0, sealed_size, None)]
    if log_size is not None:
        return [Unit(log, segment, 1, None, log_size, None)]
    return []  # retention was faster


def _size(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return None


def units_of_parquet(path: Path, segment: int) -> list[Unit]:
    """The groups of one file; raises Unreadable."""
    return [
        Unit(path, segment, group.first_line, number, group.size_bytes, group.previous)
        for number, group in enumerate(sealed.groups(path))
    ]


def entries(unit: Unit) -> Iterator[tuple[Place, Record] | Damage]:
    """Every line of a unit, in order: its record, or what is wrong with it."""
    for place, _, content, damage in lines(unit):
        if damage:
            yield Damage(place, damage)
            continue
        try:
            record = decode(content)
        except (ValueError, RecursionError):
            yield Damage(place, NO_RECORD)
        else:
            yield place, record


def record_bytes(unit: Unit) -> Iterator[tuple[Place, bytes] | Damage]:
    """The same, without decoding."""
    for place, _, content, damage in lines(unit):
        yield Damage(place, damage) if damage else (place, content)


def lines(unit: Unit) -> Iterator[Line]:
    """Every line of a unit, checked against the chain, in order."""
    previous, otherwise = unit.previous, None
    for number, (digest, record, damage) in enumerate(_stored(unit), unit.first_line):
        if number == 1 and previous is None:
            previous = _origin(record)
        expected = framing.chained(previous, record) if previous else None
        fits = expected == digest or (otherwise is not None and framing.chained(otherwise, record) == digest)
        if not fits and not damage:
            damage = MISFIT
        otherwise = expected if damage else None
        previous = digest or previous
        yield Line(Place(unit.segment, number), digest, record, damage)


def _origin(record: bytes) -> bytes | None:
    """The digest before the first line of a segment, by its own word."""
    with suppress(ValueError, RecursionError):
        start = decode(record)
        if isinstance(start, SegmentStart):
            return bytes.fromhex(start.previous) or framing.ORIGIN
    return None


_Stored = tuple[bytes | None, bytes, str]


def _stored(unit: Unit) -> Iterator[_Stored]:
    """Digest, record and damage of every line, before any check of the chain."""
    try:
        if unit.group is None:
            yield from _stored_lines(unit)
        else:
            yield from _stored_rows(unit.path, unit.group)
    except (OSError, sealed.Unreadable):
        yield None, b"", UNREADABLE


def _stored_rows(path: Path, group: int) -> Iterator[_Stored]:
    for digest, record in sealed.rows(path, group):
        yield digest, record, ""


def _stored_lines(unit: Unit) -> Iterator[_Stored]:
    """The last line of the last segment may be under way."""
    last = unit.segment >= max(_numbers(unit.path.parent), default=0)
    try:
        file = unit.path.open("rb")
    except FileNotFoundError:  # it was sealed meanwhile
        path = framing.sealed_path(unit.path.parent, unit.segment)
        for group in range(len(sealed.groups(path))):
            yield from _stored_rows(path, group)
        return
    with file:
        while line := file.readline(LINE_SIZE_MAX):
            parts = framing.unframed(line)
            if parts is not None and line.startswith(parts[0].hex().encode()):
                yield *parts, ""
            elif line.endswith(b"\n"):
                yield None, line[_FRAME_START:-1], NO_LINE
            elif len(line) == LINE_SIZE_MAX:
                skip_line(file)
                yield None, b"", TOO_LONG
            elif not last:
                yield None, b"", CUT_SHORT


def skip_line(file: IO[bytes]) -> None:
    """Reads on to the beginning of the next line, however long this one is."""
    while (rest := file.readline(LINE_SIZE_MAX)) and not rest.endswith(b"\n"):
        pass


def time_range(unit: Unit) -> tuple[int, int] | None:
    """The first and last time (unix, ns) of a sealed unit, without reading it; None when that is not known."""
    if unit.group is not None:
        with suppress(sealed.Unreadable, IndexError):
            return sealed.groups(unit.path)[unit.group].times
    return None


class TextGone(StrEnum):
    """Why a text cannot be had."""

    NOT_KEPT = "NOT_KEPT"
    ERASED = "ERASED"
    ENCRYPTED = "ENCRYPTED"
    """And no key was given."""
    DAMAGED = "DAMAGED"
    """It is not there, is not the one that the record names, or the key does not open it."""


class Texts:
    """The kept texts of a log. `private_key` opens those that are encrypted."""

    def __init__(self, folder: Path, private_key: bytes | None = None) -> None:
        self._folder = folder
        self._private_key = private_key

    def of(self, segment: int, record: VerdictRecord) -> tuple[bytes, bytes] | TextGone:
        """Prompt and completion of a verdict, or why they cannot be had."""
        if record.text.kept == "none":
            return TextGone.NOT_KEPT
        try:
            kind, content = text_frame(self._folder, segment, record)
            return self._opened(kind, content, record)
        except (OSError, ValueError):
            return TextGone.DAMAGED

    def _opened(self, kind: int, content: bytes, record: VerdictRecord) -> tuple[bytes, bytes] | TextGone:
        if kind == framing.ERASED:
            return TextGone.DAMAGED if any(content) else TextGone.ERASED
        if kind == framing.ENCRYPTED:
            if self._private_key is None:
                return TextGone.ENCRYPTED
            content = _decrypted(content, self._private_key)
        prompt, completion = framing.unpacked(content)
        fits = (len(prompt), len(completion)) == (record.text.prompt_bytes, record.text.completion_bytes)
        return (prompt, completion) if fits else TextGone.DAMAGED


def text_frame(folder: Path, segment: int, record: VerdictRecord) -> tuple[int, bytes]:
    """Kind and content of the frame that a record names; raises OSError or ValueError when it is not there."""
    kinds = {"full": framing.FULL, "encrypted": framing.ENCRYPTED}
    text, size = record.text, _content_size(record.text)
    with framing.texts_path(folder, segment).open("rb") as file:
        file.seek(text.offset or 0)
        verdict_id, kind, stated_size = framing.text_head(file.read(framing.TEXT_HEAD_SIZE))
        if verdict_id != record.verdict_id or stated_size != size or kind not in (framing.ERASED, kinds[text.kept]):
            raise ValueError("is another text")
        content = file.read(size)
    if len(content) != size:
        raise ValueError("is cut short")
    return kind, content


def text_end(text: TextTrace) -> int:
    """How much of the file of texts is needed for what is kept of one."""
    return 0 if text.kept == "none" else (text.offset or 0) + framing.TEXT_HEAD_SIZE + _content_size(text)


def _content_size(text: TextTrace) -> int:
    seal_size = SEAL_SIZE if text.kept == "encrypted" else 0
    return len(framing.packed(b"", b"")) + text.prompt_bytes + text.completion_bytes + seal_size


def _decrypted(content: bytes, private_key: bytes) -> bytes:
    """Raises ValueError when the key does not open it."""
    from nacl.exceptions import CryptoError
    from nacl.public import PrivateKey, SealedBox

    try:
        return SealedBox(PrivateKey(private_key)).decrypt(content)
    except CryptoError:
        raise ValueError("cannot be opened") from None
