"""The segment that is being written: its files, how much of them is good, and the chain's digest at its end."""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from interlock_server.audit.files import Files
from interlock_server.audit.framing import ORIGIN, chained, framed, log_path, texts_path
from interlock_server.audit.record import FORMAT, SegmentEnd, SegmentStart, encode


class Tip(NamedTuple):
    """Where the chain ends, and so where the next segment begins."""

    number: int = 1
    previous: bytes = ORIGIN
    retired_through: int = 0


class Batch(NamedTuple):
    """Records to be appended at once, as they will lie in the files; `digest` is that of the last one."""

    lines: bytes
    texts: bytes
    digest: bytes
    records: int


class Segment:
    """An open segment. Every method may raise OSError, and after that all that can be done is `cut_back`."""

    def __init__(self, folder: Path, files: Files, tip: Tip, log: int, digest: bytes, log_size: int) -> None:
        self.digest = digest
        self.records = 0
        self.texts_size = 0
        self._folder = folder
        self._files = files
        self._begun = tip
        self._log = log
        self._log_size = log_size
        self._texts: int | None = None

    @property
    def size(self) -> int:
        """Of all its files, in bytes."""
        return self._log_size + self.texts_size

    @property
    def tip(self) -> Tip:
        """Where the next one begins: in the place of this one, if it holds no record."""
        if not self.records:
            return self._begun
        return self._begun._replace(number=self._begun.number + 1, previous=self.digest)

    def append(self, batch: Batch, durable: bool) -> None:
        """Appends records; with `durable` they are on disk when this returns, and their texts before them."""
        if batch.texts:
            self._files.write(self._opened_texts(), batch.texts)
        self._files.write(self._log, batch.lines)
        if durable:
            self._sync(with_texts=bool(batch.texts))
        self.digest = batch.digest
        self.records += batch.records
        self.texts_size += len(batch.texts)
        self._log_size += len(batch.lines)

    def end(self) -> None:
        """Writes the last line, and closes the files once everything is on disk."""
        record = encode(SegmentEnd(time_unix_ns=time.time_ns(), records=self.records))
        digest = chained(self.digest, record)
        self._files.write(self._log, framed(digest, record))
        self._sync(with_texts=True)
        self.digest = digest
        self._close()

    def cut_back(self) -> None:
        """Cuts off what is not good and closes the files, which are never written again; may be called until it succeeds."""
        for file, size in ((self._texts, self.texts_size), (self._log, self._log_size)):
            if file is not None:
                self._files.truncate(file, size)
                with suppress(OSError):
                    self._files.sync(file)
        self._close()

    def _opened_texts(self) -> int:
        if self._texts is None:
            self._texts = self._files.open(texts_path(self._folder, self._begun.number), fresh=True)
            self._files.sync_folder(self._folder)
        return self._texts

    def _sync(self, with_texts: bool) -> None:
        if with_texts and self._texts is not None:
            self._files.sync(self._texts)
        self._files.sync(self._log)

    def _close(self) -> None:
        for file in (self._log, self._texts):
            if file is not None:
                with suppress(OSError):  # whatever had to be on disk has been synced
                    self._files.close(file)


def begin(folder: Path, files: Files, tip: Tip, build: str, key_id: str) -> Segment:
    """A new segment, on disk with its first line; it takes the place of one with the same number, that held no record.

    It is written under another name first, so that a segment without its first line is never seen.
    """
    record = encode(
        SegmentStart(
            format=FORMAT,
            number=tip.number,
            previous="" if tip.previous == ORIGIN else tip.previous.hex(),
            time_unix_ns=time.time_ns(),
            build=build,
            key_id=key_id,
            retired_through=tip.retired_through,
        )
    )
    digest = chained(tip.previous, record)
    line, path = framed(digest, record), log_path(folder, tip.number)
    draft = path.with_suffix(".new")
    files.remove(texts_path(folder, tip.number))
    log = files.open(draft, fresh=True)
    try:
        files.write(log, line)
        files.sync(log)
        files.rename(draft, path)
        files.sync_folder(folder)
    except OSError:
        with suppress(OSError):
            files.close(log)
        raise
    return Segment(folder, files, tip, log, digest, len(line))
