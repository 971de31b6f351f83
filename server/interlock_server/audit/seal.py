"""Turns closed segments into Parquet. A log is removed once its Parquet file is on disk and has given it back, to the byte."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock_server.audit import sealed
from interlock_server.audit.files import REAL_FILES, Files
from interlock_server.audit.framing import framed, log_path, sealed_path
from interlock_server.audit.reader import Damage, LogError, Place, Unit, entries, lines, segments, units_of_parquet
from interlock_server.audit.record import decode

LOCK_FILE = "seal.lock"


class AlreadySealing(LogError):
    """Another process is at it."""


def seal(folder: Path, files: Files = REAL_FILES) -> Iterator[int | Damage]:
    """Seals every segment that a later one follows, and gives its number, or why it was left as it is; raises LogError."""
    closed = segments(folder)[:-1]
    try:
        with _locked(folder):
            for segment in closed:
                log = log_path(folder, segment)
                if log.exists():
                    yield _seal(Unit(log, segment, 1, None, log.stat().st_size, None), files) or segment
    except OSError as error:
        raise LogError(f"{folder}: cannot be sealed: {error.strerror}") from error


def _seal(unit: Unit, files: Files) -> Damage | None:
    """Seals one segment, or says what speaks against it."""
    damage = next((entry for entry in entries(unit) if isinstance(entry, Damage)), None)
    if damage is not None:
        return damage
    path = sealed_path(unit.path.parent, unit.segment)
    draft = path.with_suffix(".parquet.tmp")
    try:
        _write(draft, unit, files)
        if not _gives_back(draft, unit):
            return Damage(Place(unit.segment, 0), "is not what its Parquet file gives back")
        files.rename(draft, path)
    except (ValueError, ArithmeticError) as error:
        return Damage(Place(unit.segment, 0), f"does not go into Parquet ({type(error).__name__})")
    finally:
        files.remove(draft)
    files.sync_folder(path.parent)
    files.remove(unit.path)
    return None


def _write(draft: Path, unit: Unit, files: Files) -> None:
    """To disk, and as old as the log: retention goes by it."""
    handle = files.open(draft, fresh=True)
    try:
        with draft.open("r+b") as file:
            sealed.write(file, unit.segment, _groups(unit))
        changed_ns = unit.path.stat().st_mtime_ns
        os.utime(draft, ns=(changed_ns, changed_ns))
        files.sync(handle)
    finally:
        files.close(handle)


def _groups(unit: Unit) -> Iterator[sealed.Rows]:
    """The lines in groups of limited size."""
    rows = sealed.Rows()
    for line in lines(unit):
        if len(rows) == sealed.GROUP_ROWS_MAX or rows.size_bytes > sealed.GROUP_BYTES_MAX:
            yield rows
            rows = sealed.Rows()
        rows.add(line.digest or b"", line.record, decode(line.record))
    yield rows


def _gives_back(draft: Path, unit: Unit) -> bool:
    """Whether the Parquet file holds the log, line by line, in one chain."""
    try:
        with unit.path.open("rb") as log:
            for part in units_of_parquet(draft, unit.segment):
                for line in lines(part):
                    stored = framed(line.digest or b"", line.record)
                    if line.damage or log.read(len(stored)) != stored:
                        return False
            return not log.read(1)
    except sealed.Unreadable:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadySealing(f"{folder}: is being sealed already") from None
        yield
