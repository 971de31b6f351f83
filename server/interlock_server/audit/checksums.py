"""Checksums inside of a Parquet file, so that no decoder sees damaged bytes: some make pyarrow end the process.

They lie before the footer, where nothing refers to and so every reader skips: one for each group of rows, then the footer's.
"""

import hashlib
from typing import IO, Any

_MAGIC = b"PAR1"
_SIZE = 32
_TAIL_SIZE = 8
"""Of the footer's size and the magic bytes, with which a Parquet file ends."""


def add(file: IO[bytes], metadata: Any) -> None:
    """Adds them to a file that is complete otherwise."""
    start = _footer_start(file)
    file.seek(start)
    footer = file.read()
    groups = b"".join(_group_sum(file, metadata.row_group(number)) for number in range(metadata.num_row_groups))
    file.seek(start)
    file.write(groups + hashlib.sha256(footer).digest() + footer)


def check_footer(file: IO[bytes]) -> None:
    """Raises ValueError or OSError when it is not as it was written."""
    file.seek(0)
    begins = file.read(len(_MAGIC)) == _MAGIC
    file.seek(_footer_start(file) - _SIZE)
    if not begins or file.read(_SIZE) != hashlib.sha256(file.read()).digest():
        raise ValueError("the footer is damaged")


def check_group(file: IO[bytes], metadata: Any, group: int) -> None:
    """Raises ValueError or OSError when its bytes are not as they were written; the footer was checked before."""
    file.seek(_footer_start(file) - _SIZE * (1 + metadata.num_row_groups - group))
    if file.read(_SIZE) != _group_sum(file, metadata.row_group(group)):
        raise ValueError("the group is damaged")


def _footer_start(file: IO[bytes]) -> int:
    end = file.seek(-_TAIL_SIZE, 2)
    return end - int.from_bytes(file.read(4), "little")


def _group_sum(file: IO[bytes], group: Any) -> bytes:
    """Of all bytes of its columns."""
    columns = [group.column(number) for number in range(group.num_columns)]
    starts = [
        min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset) for column in columns
    ]
    ends = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
    file.seek(min(starts))
    return hashlib.sha256(file.read(max(ends) - min(starts))).digest()
