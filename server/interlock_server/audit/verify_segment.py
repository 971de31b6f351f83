"""One segment, checked by itself: its lines, its ends, the columns of its Parquet file and the texts that are kept of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from interlock_server.audit import sealed
from interlock_server.audit.framing import ORIGIN
from interlock_server.audit.keys import key_id
from interlock_server.audit.reader import MISFIT, NO_RECORD, Line, Place, TextGone, Texts, Unit, lines, time_range
from interlock_server.audit.record import (
    FORMAT,
    FeedbackRecord,
    Record,
    SegmentEnd,
    SegmentStart,
    VerdictRecord,
    decode,
)
from interlock_server.audit.texts import TextKeeper

FINDINGS_MAX = 1000


class Finding(NamedTuple):
    """Something about a log, without any of its content."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class TextCheck:
    """Compares kept texts with their records: where they are and how large, and with a `key` their hashes."""

    def __init__(self, folder: Path, key: bytes | None, private_key: bytes | None) -> None:
        self._texts = Texts(folder, private_key)
        self._keeper = TextKeeper(key or b"")
        self._key_id = key_id(key) if key else ""

    def knows(self, key: str) -> bool:
        """Whether hashes that were made with this key can be compared."""
        return not (key and self._key_id) or key == self._key_id

    def problem(self, segment: int, record: VerdictRecord, key: str) -> str:
        """What is wrong with the text that is kept of a verdict; empty when nothing is."""
        found = self._texts.of(segment, record)
        if found is TextGone.DAMAGED:
            return "its kept text is missing or is another one"
        if isinstance(found, TextGone) or not self._key_id or not self.knows(key) or not record.text.prompt_hash:
            return ""
        hashed, _ = self._keeper.trace(record.verdict_id, *found, label="", offset=0)
        same = hashed.prompt_hash == record.text.prompt_hash and hashed.completion_hash == record.text.completion_hash
        return "" if same else "its kept text has another hash"


class SegmentCheck:
    """What is found in one segment. `last` is the digest of its last line, `previous` what its first line says it follows."""

    def __init__(self, number: int, parts: Sequence[Unit], texts: TextCheck, anchor: bytes | None) -> None:
        self.number = number
        self.start: SegmentStart | None = None
        self.previous: bytes | None = None
        self.last: bytes | None = None
        self.lines = 0
        self.records = 0
        self.end_line = 0
        self.anchored = False
        self.problems: list[Finding] = []
        self.notes: list[Finding] = []
        self._parts = parts
        self._texts = texts
        self._anchor = anchor
        self._damaged = False

    def read(self) -> Iterator[int]:
        """Reads all of it, and gives the size of each unit once it was read."""
        for unit in self._parts:
            if self.last is not None and self.last != unit.previous:
                self.problem(unit.first_line, MISFIT)
            rows = sealed.Rows()
            for line in lines(unit):
                record = self._read(line)
                if record is not None and unit.group is not None:
                    rows.add(line.digest or b"", line.record, record)
            if len(rows) and not self._damaged:
                self._check_columns(unit, rows)
            yield unit.size_bytes
        if not self.lines:
            self.problem(0, "is empty")

    def settle(self, previous: bytes) -> bool:
        """Takes what the segment after it says: that it follows the line with this digest. False when there is none."""
        if previous == self.last or self.last is None:  # that it has no digest at all is a problem already
            return True
        known = (line.place.line for unit in self._parts for line in lines(unit) if line.digest == previous)
        end = next(known, None)
        if end is None:
            return False
        if self.end_line and self.end_line <= end:
            return True  # behind an end that counts there is nothing that a writer could have left
        self.problems = [problem for problem in self.problems if problem.place.line <= end]
        self.note(end + 1, f"this and what follows, {self.lines - end} lines, was never acknowledged")
        return True

    def unfinished(self) -> bool:
        """Whether its file ends within a line."""
        with suppress(OSError):
            if self._parts[-1].group is None and self._parts[-1].path.stat().st_size:
                with self._parts[-1].path.open("rb") as file:
                    file.seek(-1, 2)
                    return file.read() != b"\n"
        return False

    def problem(self, line: int, what: str) -> None:
        """Something is wrong."""
        if len(self.problems) < FINDINGS_MAX:
            self.problems.append(Finding(Place(self.number, line), what))

    def note(self, line: int, what: str) -> None:
        """Something is worth knowing."""
        self.notes.append(Finding(Place(self.number, line), what))

    def _read(self, line: Line) -> Record | None:
        """The record of a line; None when it is damaged."""
        self.lines += 1
        self.last = line.digest or self.last
        self.anchored = self.anchored or line.digest == self._anchor
        damage, record = line.damage, None
        if not damage:
            try:
                record = decode(line.record)
            except (ValueError, RecursionError):
                damage = NO_RECORD
        if record is None:
            self._damaged = True
            self.problem(line.place.line, damage)
        else:
            self._take(line.place.line, record)
        return record

    def _take(self, line: int, record: Record) -> None:
        if self.end_line:
            self.problem(line, "comes after the end of its segment")
        _TAKERS[type(record)](self, line, record)

    def _take_start(self, line: int, start: SegmentStart) -> None:
        if line != 1:
            return self.problem(line, "begins another segment")
        self.start = start
        self.previous = bytes.fromhex(start.previous) or ORIGIN
        if start.number != self.number:
            self.problem(line, f"says that it is segment {start.number}")
        if start.format != FORMAT:
            self.problem(line, f"is of format {start.format}, which this version does not know")
        if not self._texts.knows(start.key_id):
            self.note(line, "kept texts are not compared with their hashes: these were made with another key")
        return None

    def _take_end(self, line: int, end: SegmentEnd) -> None:
        self.end_line = self.end_line or line
        if end.records != self.records and not self._damaged:
            self.problem(line, f"says {end.records} records, but there are {self.records}")

    def _take_verdict(self, line: int, record: VerdictRecord) -> None:
        self.records += 1
        if record.text.kept != "none":
            what = self._texts.problem(self.number, record, self.start.key_id if self.start else "")
            if what:
                self.problem(line, what)

    def _take_feedback(self, line: int, record: FeedbackRecord) -> None:
        self.records += 1

    def _check_columns(self, unit: Unit, rows: sealed.Rows) -> None:
        """What other tools read must be what the chain covers."""
        try:
            expected, found = rows.table(), sealed.full(unit.path, unit.group or 0)
        except (sealed.Unreadable, ValueError, ArithmeticError):
            return self.problem(unit.first_line, "has columns that cannot be read")
        if not found.equals(expected):
            pairs = enumerate(zip(found.to_pylist(), expected.to_pylist(), strict=True), unit.first_line)
            line = next((line for line, (one, other) in pairs if one != other), unit.first_line)
            self.problem(line, "has columns that do not follow from its record")
        times = rows.columns["time_unix_ns"]
        if time_range(unit) != (min(times), max(times)):
            self.problem(unit.first_line, "has statistics that do not follow from the records")
        return None


_TAKERS: Mapping[type, Callable[[SegmentCheck, int, Any], None]] = {
    SegmentStart: SegmentCheck._take_start,
    SegmentEnd: SegmentCheck._take_end,
    VerdictRecord: SegmentCheck._take_verdict,
    FeedbackRecord: SegmentCheck._take_feedback,
}
