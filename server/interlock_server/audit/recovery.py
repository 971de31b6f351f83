"""Where the chain of a folder ends, whatever became of the process that wrote it. No record that was found is destroyed: what
a crash tore at the end is moved to a file beside, and damage that others chain on behind stays for `verify` to name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from interlock_server.audit.files import Files
from interlock_server.audit.framing import ORIGIN, log_path, sealed_path, texts_path, torn_path, unframed
from interlock_server.audit.reader import LINE_SIZE_MAX, Unit, lines, skip_line, text_end, units_of_parquet
from interlock_server.audit.record import Record, SegmentEnd, SegmentStart, VerdictRecord, decode
from interlock_server.audit.retention import Held, stock
from interlock_server.audit.sealed import Unreadable
from interlock_server.audit.segment import Tip
from interlock_server.log import log_event

_END_SIZE_MAX = 4096
_CHUNK_SIZE = 1024 * 1024


class Good(NamedTuple):
    """A segment up to the last of its lines that fits the chain, whatever there is before it."""

    start: SegmentStart | None
    """None when the first line is damaged."""
    digest: bytes
    """Of the last line."""
    lines: int
    texts_size: int = 0
    """Up to the end of the last text that a record names; not known of a segment that was closed in order."""


def recover(folder: Path, files: Files) -> Tip:
    """Where the next segment begins. What the last one was torn to is cut off; damage before that is for `verify` to find."""
    held = stock(folder)
    number = held[-1].number + 1 if held else 1
    previous: bytes | None = None
    for segment in reversed(held):
        good = _good(folder, segment, files)
        if good is None:
            continue
        previous = previous or good.digest
        if good.start is None:  # what was retired is said by the one before
            continue
        if good.lines == 1 and segment is held[-1]:  # nobody was promised anything of it: the next one takes its place
            return Tip(segment.number, bytes.fromhex(good.start.previous) or ORIGIN, good.start.retired_through)
        return Tip(number, previous, good.start.retired_through)
    return Tip(number, previous or ORIGIN)


def read_good(units: list[Unit]) -> Good | None:
    """What fits of a segment; None when no line does."""
    start, last, texts_size = None, None, 0
    for line in (line for unit in units for line in lines(unit)):
        if line.damage:
            continue
        last, record = line, _decoded(line.record)
        if isinstance(record, SegmentStart):
            start = start or record
        elif isinstance(record, VerdictRecord):
            texts_size = max(texts_size, text_end(record.text))
    return Good(start, last.digest or b"", last.place.line, texts_size) if last is not None else None


def _good(folder: Path, held: Held, files: Files) -> Good | None:
    path, sealed = log_path(folder, held.number), sealed_path(folder, held.number)
    if path not in held.paths:
        return _sealed(sealed, held.number) if sealed in held.paths else None
    good = _closed(path)
    if good is None:
        good = read_good([Unit(path, held.number, 1, None, path.stat().st_size, None)])
        _cut(folder, held.number, good, files)
    for kept in (path, texts_path(folder, held.number)):  # the next segment refers to it
        if kept.exists():
            with _opened(kept, files) as file:
                files.sync(file)
    return good


def _sealed(path: Path, number: int) -> Good | None:
    try:
        return read_good(units_of_parquet(path, number))
    except Unreadable:
        return None


def _closed(path: Path) -> Good | None:
    """A segment that was closed in order, from its first and last lines only; None for any other."""
    with path.open("rb") as file:
        first = unframed(file.readline(LINE_SIZE_MAX))
        file.seek(max(0, file.seek(0, 2) - _END_SIZE_MAX))
        last = unframed((file.read().splitlines(keepends=True) or [b""])[-1])
    if first is None or last is None:
        return None
    start, end = _decoded(first[1]), _decoded(last[1])
    if not isinstance(start, SegmentStart) or not isinstance(end, SegmentEnd):
        return None
    return Good(start, last[0], end.records + 2)


def _decoded(content: bytes) -> Record | None:
    try:
        record: Record = decode(content)
    except (ValueError, RecursionError):
        return None
    return record


def _cut(folder: Path, number: int, good: Good | None, files: Files) -> None:
    """Moves what is behind the good lines, twice rather than never, if it is interrupted. Texts that no record names yet are
    cut off, since nobody could have them erased; not without any good line: no crash does that, and the log may come back."""
    path = log_path(folder, number)
    size = _size(path, good.lines if good is not None else 0)
    torn_size = path.stat().st_size - size
    if torn_size:
        _copy(path, size, torn_path(folder, number), files)
        files.sync_folder(folder)
        log_event("the end of an audit segment was torn", segment=number, torn_bytes=torn_size)
        _truncate(path, size, files)
    if good is not None:
        _truncate(texts_path(folder, number), good.texts_size, files)


def _size(path: Path, lines: int) -> int:
    """Of that many lines, damaged or not."""
    with path.open("rb") as file:
        for _ in range(lines):
            skip_line(file)
        return file.tell()


def _truncate(path: Path, size: int, files: Files) -> None:
    if path.exists() and path.stat().st_size > size:
        with _opened(path, files) as file:
            files.truncate(file, size)


def _copy(path: Path, offset: int, to: Path, files: Files) -> None:
    with path.open("rb") as source, _opened(to, files) as file:
        source.seek(offset)
        while chunk := source.read(_CHUNK_SIZE):
            files.write(file, chunk)
        files.sync(file)


@contextmanager
def _opened(path: Path, files: Files) -> Iterator[int]:
    file = files.open(path)
    try:
        yield file
    finally:
        files.close(file)
