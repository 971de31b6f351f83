"""How a closed segment lies in Parquet: each line of its log is a row, to the byte, beside columns that other tools can query.

What the chain covers is `digest` and `record`; every other column follows from the record.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from interlock_server.audit import checksums
from interlock_server.audit.record import (
    FORMAT,
    FeedbackRecord,
    Record,
    VerdictRecord,
)

GROUP_ROWS_MAX = 8192
GROUP_BYTES_MAX = 32 * 1024 * 1024
_COMPRESSION_LEVEL = 6
_FORMAT, _SEGMENT, _PREVIOUS = b"interlock.format", b"interlock.segment", b"interlock.previous"

_T = TypeVar("_T")


class Unreadable(Exception):
    """The file, or a group of its rows, cannot be read."""


class Group(NamedTuple):
    """What the footer says of one group of rows; `previous` is the digest before it, None before the first one."""

    first_line: int
    rows: int
    size_bytes: int
    previous: bytes | None
    times: tuple[int, int] | None


_VALUES: dict[str, Callable[[VerdictRecord], object]] = {
    "caller": lambda record: record.caller,
    "rpc": lambda record: record.rpc,
    "decision": lambda record: str(record.decided.decision),
    "reason": lambda record: str(record.decided.reasons[0]) if record.decided.reasons else None,
    "profile": lambda record: record.evidence.profile,
    "policy": lambda record: record.digests.policy,
    "bundle": lambda record: record.digests.bundle,
    "categories": lambda record: list(record.decided.categories),
}
"""The columns of a verdict, empty in every other row."""
_PLAIN = ("kind", "time_unix_ns", *(name for name in _VALUES if name != "categories"))


class Rows:
    """Lines that become one group of rows. It keeps what goes into the columns, and no record."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.columns: dict[str, list[Any]] = {name: [] for name in _schema().names}

    def __len__(self) -> int:
        return len(self.columns["digest"])

    def add(self, digest: bytes, content: bytes, record: Record) -> None:
        """The next line."""
        self.size_bytes += len(content)
        facts = (value(record) if isinstance(record, VerdictRecord) else None for value in _VALUES.values())
        row = (digest, content, record.__struct_config__.tag, record.time_unix_ns, _verdict_id(record), *facts)
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(value)

    def table(self) -> Any:
        """The Arrow table; raises ValueError or ArithmeticError where a line does not go into the columns."""
        import pyarrow as pa  # type: ignore[import-untyped]

        return pa.table(self.columns, schema=_schema())


def _verdict_id(record: Record) -> str | None:
    return record.verdict_id if isinstance(record, VerdictRecord | FeedbackRecord) else None


def _schema() -> Any:
    import pyarrow as pa

    def column(name: str, of: Any, nullable: bool = True) -> Any:
        return pa.field(name, of, nullable=nullable)

    return pa.schema(
        [
            column("digest", pa.binary(32), nullable=False),
            column("record", pa.binary(), nullable=False),
            column("kind", pa.string(), nullable=False),
            column("time_unix_ns", pa.int64(), nullable=False),
            column("verdict_id", pa.string()),
            *(column(name, pa.list_(pa.string()) if name == "categories" else pa.string()) for name in _VALUES),
        ]
    )


def write(file: IO[bytes], segment: int, groups: Iterator[Rows]) -> None:
    """Writes a segment, group by group; raises ValueError or ArithmeticError where a line does not go into the columns."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    previous = [""]
    with pq.ParquetWriter(
        file,
        _schema(),
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=[*_PLAIN, "categories.list.element"],
        write_statistics=[*_PLAIN, "verdict_id"],
        store_schema=False,
    ) as writer:
        for rows in groups:
            writer.write_table(rows.table(), row_group_size=GROUP_ROWS_MAX)
            previous.append(rows.columns["digest"][-1].hex())
        facts = {_FORMAT: str(FORMAT), _SEGMENT: str(segment), _PREVIOUS: json.dumps(previous[:-1])}
        writer.add_key_value_metadata(facts)
    checksums.add(file, pq.read_metadata(file))


def groups(path: Path) -> list[Group]:
    """The groups of a file; raises Unreadable."""
    return _guarded(lambda: _groups(path))


def rows(path: Path, group: int) -> list[tuple[bytes, bytes]]:
    """The lines of a group; raises Unreadable."""
    return _guarded(lambda: _rows(path, group))


def full(path: Path, group: int) -> Any:
    """The Arrow table of a group, with all its columns; raises Unreadable."""
    return _guarded(lambda: _read(path, group))


def _groups(path: Path) -> list[Group]:
    metadata = _opened(path).metadata
    facts = metadata.metadata or {}
    previous = [bytes.fromhex(digest) for digest in json.loads(facts[_PREVIOUS])]
    if facts[_FORMAT] != str(FORMAT).encode() or len(previous) != metadata.num_row_groups:
        raise ValueError("is not of this format")
    found, first_line = [], 1
    for number, before in enumerate(previous):
        group = metadata.row_group(number)
        found.append(Group(first_line, group.num_rows, group.total_byte_size, before or None, _times(group)))
        first_line += group.num_rows
    return found


def _times(group: Any) -> tuple[int, int] | None:
    names = [group.column(number).path_in_schema for number in range(group.num_columns)]
    statistics = group.column(names.index("time_unix_ns")).statistics
    return (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None


def _rows(path: Path, group: int) -> list[tuple[bytes, bytes]]:
    read = _read(path, group, ["digest", "record"])
    digests, records = read.column("digest").to_pylist(), read.column("record").to_pylist()
    found = list(zip(digests, records, strict=True))
    if not all(isinstance(part, bytes) for row in found for part in row):
        raise ValueError("is not of this format")
    return found


def _read(path: Path, group: int, columns: list[str] | None = None) -> Any:
    opened = _opened(path)
    with path.open("rb") as file:
        checksums.check_group(file, opened.metadata, group)
    return opened.read_row_group(group, columns, use_threads=False)


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        checksums.check_footer(file)
    return pq.ParquetFile(path, pre_buffer=False)


def _guarded(read: Callable[[], _T]) -> _T:
    """What a damaged file makes a library raise is not for callers to know."""
    import pyarrow as pa

    try:
        return read()
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise Unreadable(type(error).__name__) from None
