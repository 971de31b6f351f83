"""What a log's folder holds, and which of its oldest segments are to go. Only looks and decides; the writer removes."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from interlock_server.audit.settings import AuditSettings

_NAME = re.compile(r"(\d{6,})\.(log|parquet|texts|torn)")
_DAY_S = 86_400.0


class Held(NamedTuple):
    """The files of one segment."""

    number: int
    size: int
    changed_s: float
    """When its last record was written; seconds since 1970."""
    paths: tuple[Path, ...]


def stock(folder: Path) -> list[Held]:
    """All segments, the oldest first."""
    files: dict[int, dict[Path, os.stat_result]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _NAME.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # it was sealed meanwhile
                    files.setdefault(int(match[1]), {})[Path(entry.path)] = entry.stat()
    return [_held(number, files[number]) for number in sorted(files) if files[number]]


def overdue(closed: Sequence[Held], settings: AuditSettings, now_s: float) -> list[Held]:
    """The oldest of these segments that are too old, or for which there is no room. None is kept behind one that is not."""
    size, chosen = sum(held.size for held in closed), []
    for held in closed:
        old = settings.retain_days is not None and now_s - held.changed_s > settings.retain_days * _DAY_S
        large = settings.retain_bytes_max is not None and size > settings.retain_bytes_max
        if not (old or large):
            break
        chosen.append(held)
        size -= held.size
    return chosen


def _held(number: int, files: dict[Path, os.stat_result]) -> Held:
    # Erasing writes to texts, and recovery to what was torn: neither makes records younger.
    records = [stat for path, stat in files.items() if path.suffix in (".log", ".parquet")] or list(files.values())
    changed_s = min(stat.st_mtime for stat in records)
    return Held(number, sum(stat.st_size for stat in files.values()), changed_s, tuple(files))
