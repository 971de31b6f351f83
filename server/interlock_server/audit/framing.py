"""How records and texts lie in files: pure functions over bytes.

A log is a folder of numbered segments. A segment is lines of `digest record`, where each digest is SHA-256 of the digest
before it and the record, across all segments: whoever knows the last one can tell whether anything was changed, and a line
that was torn by a crash does not fit. Kept texts lie beside, one file for each segment, so that one can be erased and the
chain stays whole.
"""

import hashlib
import struct
from pathlib import Path
from typing import NamedTuple

ORIGIN = bytes(32)
"""What stands for the digest before the first record of all."""
_HEX_SIZE = 64
_TEXT_HEAD = struct.Struct(">36sBI")
_PROMPT_SIZE = struct.Struct(">I")
ERASED, FULL, ENCRYPTED = 0, 1, 2


def log_path(folder: Path, number: int) -> Path:
    """A segment as it is written."""
    return folder / f"{number:06d}.log"


def sealed_path(folder: Path, number: int) -> Path:
    """A closed segment as Parquet, in place of its log."""
    return folder / f"{number:06d}.parquet"


def texts_path(folder: Path, number: int) -> Path:
    """The texts that are kept of a segment."""
    return folder / f"{number:06d}.texts"


def torn_path(folder: Path, number: int) -> Path:
    """What was found behind the last good line of a segment that was not closed in order."""
    return folder / f"{number:06d}.torn"


def chained(previous: bytes, record: bytes) -> bytes:
    """The digest of a record that follows one with the digest `previous`."""
    return hashlib.sha256(previous + record).digest()


def framed(digest: bytes, record: bytes) -> bytes:
    """The line of a record."""
    return b"%b %b\n" % (digest.hex().encode(), record)


def unframed(line: bytes) -> tuple[bytes, bytes] | None:
    """Digest and record of a line as they stand, unchecked; None when it is not framed as a whole line."""
    if len(line) < _HEX_SIZE + 2 or line[_HEX_SIZE] != ord(" ") or not line.endswith(b"\n"):
        return None
    try:
        return bytes.fromhex(line[:_HEX_SIZE].decode("ascii")), line[_HEX_SIZE + 1 : -1]
    except ValueError:
        return None


class TextFrame(NamedTuple):
    """One kept text. `content` is what `packed` gave, sealed or not; zeros once it is erased."""

    verdict_id: str
    kind: int
    content: bytes

    def to_bytes(self) -> bytes:
        """As it lies in the file."""
        return _TEXT_HEAD.pack(self.verdict_id.encode("ascii"), self.kind, len(self.content)) + self.content


TEXT_HEAD_SIZE = _TEXT_HEAD.size


def text_head(head: bytes) -> tuple[str, int, int]:
    """Verdict id, kind and size of the content that follow from the first TEXT_HEAD_SIZE bytes; raises ValueError."""
    try:
        verdict_id, kind, size = _TEXT_HEAD.unpack(head)
        return verdict_id.decode("ascii"), kind, size
    except struct.error:
        raise ValueError("is cut short") from None


def packed(prompt: bytes, completion: bytes) -> bytes:
    """Both texts as one."""
    return _PROMPT_SIZE.pack(len(prompt)) + prompt + completion


def unpacked(content: bytes) -> tuple[bytes, bytes]:
    """Prompt and completion; raises ValueError."""
    size = _PROMPT_SIZE.size
    if len(content) < size or len(content) < size + _PROMPT_SIZE.unpack(content[:size])[0]:
        raise ValueError("is cut short")
    end = size + _PROMPT_SIZE.unpack(content[:size])[0]
    return content[size:end], content[end:]
