"""Where the chain of a folder ends, whatever became of the process that wrote it. Nothing that was found is destroyed: what
does not fit the chain is moved to a file beside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from interlock_server.audit.files import Files
from interlock_server.audit.framing import ORIGIN, framed, log_path, sealed_path, texts_path, torn_path, unframed
from interlock_server.audit.reader import LINE_SIZE_MAX, Unit, lines, units_of_parquet
from interlock_server.audit.record import SegmentEnd, SegmentStart, decode
from interlock_server.audit.retention import Held, stock
from interlock_server.audit.sealed import Unreadable
from interlock_server.audit.segment import Tip
from interlock_server.log import log_event

_END_SIZE_MAX = 4096
_CHUNK_SIZE = 1024 * 1024
_T = TypeVar("_T", SegmentStart, SegmentEnd)


class Good(NamedTuple):
    """The lines of a segment up to the first that does not fit the chain."""

    start: SegmentStart
    digest: bytes
    """Of the last one."""
    lines: int
    size: int


def recover(folder: Path, files: Files) -> Tip:
    """Where the next segment begins. The last one is cut behind its last good line; damage before it is for `verify` to find."""
    held = stock(folder)
    number = held[-1].number + 1 if held else 1
    for segment in reversed(held):
        good = _good(folder, segment, files)
        if good is None:
            continue
        if good.lines == 1 and segment is held[-1]:  # nobody was promised anything of it: the next one takes its place
            return Tip(segment.number, bytes.fromhex(good.start.previous) or ORIGIN, good.start.retired_through)
        return Tip(number, good.digest, good.start.retired_through)
    return Tip(number)


def read_good(units: list[Unit]) -> Good | None:
    """What fits of a segment; None when not even its first line does."""
    good = None
    for line in (line for unit in units for line in lines(unit)):
        if line.damage or line.digest is None:
            break
        size = len(framed(line.digest, line.record))
        if good is not None:
            good = good._replace(digest=line.digest, lines=good.lines + 1, size=good.size + size)
        elif (start := _decoded(line.record, SegmentStart)) is not None:
            good = Good(start, line.digest, 1, size)
        else:
            break
    return good


def _good(folder: Path, held: Held, files: Files) -> Good | None:
    path, sealed = log_path(folder, held.number), sealed_path(folder, held.number)
    if path not in held.paths:
        return _sealed(sealed, held.number) if sealed in held.paths else None
    good = _closed(path) or read_good([Unit(path, held.number, 1, None, path.stat().st_size, None)])
    _cut(folder, held.number, good.size if good else 0, files)
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
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_SIZE_MAX))
        last = unframed((file.read().splitlines(keepends=True) or [b""])[-1])
    if first is None or last is None:
        return None
    start, end = _decoded(first[1], SegmentStart), _decoded(last[1], SegmentEnd)
    return Good(start, last[0], end.records + 2, size) if start is not None and end is not None else None


def _decoded(content: bytes, kind: type[_T]) -> _T | None:
    try:
        record = decode(content)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, kind) else None


def _cut(folder: Path, number: int, size: int, files: Files) -> None:
    """Moves what is behind the good lines, twice rather than never, if it is interrupted; and puts on disk what stays, since
    the next segment refers to it."""
    path, texts = log_path(folder, number), texts_path(folder, number)
    torn_size = path.stat().st_size - size
    if torn_size:
        _copy(path, size, torn_path(folder, number), files)
        files.sync_folder(folder)
        log_event("the end of an audit segment was torn", segment=number, torn_bytes=torn_size)
    with _opened(path, files) as file:
        if torn_size:
            files.truncate(file, size)
        files.sync(file)
    if texts.exists():
        with _opened(texts, files) as file:
            files.sync(file)


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
