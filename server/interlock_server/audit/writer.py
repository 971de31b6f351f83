"""Makes records of entries and appends them to the log: everything that the log's thread does, without the thread.

What fails is not tried again at the same place: the segment is abandoned, and the next one follows on its last good record.
"""

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from interlock_server.audit.files import Files
from interlock_server.audit.framing import chained, framed
from interlock_server.audit.reader import LINE_SIZE_MAX
from interlock_server.audit.record import FeedbackRecord, TextTrace, VerdictRecord, encode
from interlock_server.audit.retention import overdue, stock
from interlock_server.audit.sealing import Sealer
from interlock_server.audit.segment import Batch, Segment, Tip, begin
from interlock_server.audit.settings import AuditSettings
from interlock_server.audit.texts import TextKeeper
from interlock_server.log import log_event, log_failure

_RETRY_S = 0.1
"""How long nothing is tried after a failure, however many want to write."""
_TEND_S = 1.0
"""How often a new segment is tried though nobody wants to write, and sealing is looked after."""


@dataclass(frozen=True)
class Entry:
    """What is to be recorded. `make` is called in the log's thread, with what became of the texts.

    `label` is the first reason, or RELEASE: what `text_shares` goes by. Without one no copy of the texts is kept.
    """

    make: Callable[[TextTrace], VerdictRecord | FeedbackRecord]
    verdict_id: str
    prompt: bytes = b""
    completion: bytes = b""
    label: str = ""


class AuditInstruments(Protocol):
    """What is counted; called from the log's thread and from the event loop's."""

    def written(self, records: int, took_s: float) -> None:
        """A group of records is in the log."""

    def failed(self, records: int) -> None:
        """Records could not be made or written."""

    def dropped(self) -> None:
        """A record was not taken, because too many wait or the log is closed."""

    def healthy(self, holds: bool) -> None:
        """Whether records can be written."""

    def queued(self, records: int) -> None:
        """How many records wait."""


@dataclass(frozen=True)
class Surroundings:
    """What a writer works with."""

    folder: Path
    settings: AuditSettings
    build: str
    key_id: str
    keeper: TextKeeper
    files: Files
    instruments: AuditInstruments
    sealer: Sealer
    clock: Callable[[], float] = time.monotonic


class Writer:
    """Of one folder, for one thread. Raises OSError when the first segment cannot be begun, and nothing later."""

    def __init__(self, around: Surroundings, tip: Tip) -> None:
        self._around = around
        self._tip = tip
        self._failed_s = 0.0
        self._ages_from_s = 0.0
        """When the segment's first record was written, or it was begun."""
        self._healthy = True
        self._broken: Segment | None = None
        """In which writing failed, as long as what is not good has not been cut off."""
        self._segment: Segment | None = self._begin()
        around.instruments.healthy(True)

    def write(self, entries: Sequence[Entry]) -> list[bool]:
        """Whether each of them is in the log, and on disk if that is required."""
        instruments, begun_s = self._around.instruments, self._around.clock()
        written = [False] * len(entries)
        try:
            if (segment := self._opened(begun_s)) is not None:
                batch, made = _batch(entries, self._around.keeper, segment)
                if batch.records:
                    segment.append(batch, durable=self._around.settings.mode == "required")
                    self._succeeded(segment, batch, begun_s)
                written = made
        except Exception as error:  # whatever it is: nothing of this group counts as written
            self._fail(error)
        if failed := written.count(False):
            instruments.failed(failed)
        return written

    def tend(self) -> float | None:
        """Does what is due by the clock; returns after how many seconds to call again, None if not before the next write."""
        now_s, segment = self._around.clock(), self._segment
        try:
            if segment is not None and self._due(segment, now_s):
                self._rotate(segment)
            elif segment is None and now_s - self._failed_s >= _TEND_S:
                self._segment = self._begin()
                self._tell(True)
        except Exception as error:
            self._fail(error)
        return self._pause_s(now_s)

    def close(self) -> None:
        """Ends the segment."""
        if self._segment is not None:
            try:
                self._segment.end()
            except Exception as error:
                self._fail(error)
        self._around.sealer.close()

    def _opened(self, now_s: float) -> Segment | None:
        if self._segment is None and now_s - self._failed_s >= _RETRY_S:
            self._segment = self._begin()
        return self._segment

    def _begin(self) -> Segment:
        """The next segment; it says which ones leave, and only then they do."""
        self._cut_back()
        around, tip = self._around, self._tip
        closed = [held for held in stock(around.folder) if held.number < tip.number]
        leaving = overdue(closed, around.settings, time.time())
        if leaving:
            tip = tip._replace(retired_through=max(tip.retired_through, leaving[-1].number))
        segment = begin(around.folder, around.files, tip, around.build, around.key_id)
        for path in (path for held in leaving for path in held.paths):
            with suppress(OSError):  # the next segment tries again
                around.files.remove(path)
        self._ages_from_s = around.clock()
        return segment

    def _due(self, segment: Segment, now_s: float) -> bool:
        old = self._ages(segment) and now_s - self._ages_from_s >= self._around.settings.segment_age_s
        return old or (segment.records > 0 and segment.size >= self._around.settings.segment_bytes_max)

    def _ages(self, segment: Segment) -> bool:
        """One without records only grows old so that what it stands behind can be retired: it is begun again in its place."""
        return segment.records > 0 or self._around.settings.retain_days is not None

    def _rotate(self, segment: Segment) -> None:
        segment.end()
        self._tip, self._segment = segment.tip, None
        self._segment = self._begin()
        if segment.records:
            self._around.sealer.begin(self._around.folder)

    def _pause_s(self, now_s: float) -> float | None:
        pauses = []
        if self._segment is None or self._around.sealer.tend():
            pauses.append(_TEND_S)
        if self._segment is not None and self._ages(self._segment):
            pauses.append(self._ages_from_s + self._around.settings.segment_age_s - now_s)
        return max(0.0, min(pauses)) if pauses else None

    def _succeeded(self, segment: Segment, batch: Batch, begun_s: float) -> None:
        if segment.records == batch.records:
            self._ages_from_s = begun_s
        self._around.instruments.written(batch.records, self._around.clock() - begun_s)
        self._tell(True)

    def _fail(self, error: Exception) -> None:
        if self._segment is not None:
            self._tip, self._broken, self._segment = self._segment.tip, self._segment, None
            with suppress(OSError):
                self._cut_back()
        self._failed_s = self._around.clock()
        number = error.errno if isinstance(error, OSError) else None
        self._tell(False, error_type=errno.errorcode.get(number or 0, type(error).__name__))

    def _cut_back(self) -> None:
        if self._broken is not None:
            self._broken.cut_back()
            self._broken = None

    def _tell(self, healthy: bool, **why: str) -> None:
        """Once for every change."""
        if healthy == self._healthy:
            return
        self._healthy = healthy
        self._around.instruments.healthy(healthy)
        log_event("the audit log can be written again" if healthy else "the audit log cannot be written", **why)


def _batch(entries: Sequence[Entry], keeper: TextKeeper, segment: Segment) -> tuple[Batch, list[bool]]:
    """The records of all entries from which one can be made, and of which that is so."""
    digest, offset = segment.digest, segment.texts_size
    lines, texts, made = [], [], []
    for entry in entries:
        try:
            trace, frame = keeper.trace(entry.verdict_id, entry.prompt, entry.completion, entry.label, offset)
            record = encode(entry.make(trace))
            line_digest = chained(digest, record)
            line = framed(line_digest, record)
            if len(line) > LINE_SIZE_MAX:
                raise ValueError("a record is too long")
        except Exception as error:
            log_failure("audit record", error, verdict_id=entry.verdict_id)
            made.append(False)
            continue
        digest = line_digest
        offset += len(frame)
        lines.append(line)
        texts.append(frame)
        made.append(True)
    return Batch(b"".join(lines), b"".join(texts), digest, len(lines)), made
