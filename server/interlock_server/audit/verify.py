"""Whether a log is whole: every line, every link between segments, every kept text.

A chain cannot tell that lines are missing at its very end. Who keeps the head of an earlier verification elsewhere, where
nobody who can write the log can write too, and gives it as the `anchor`, is told when the log no longer holds it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from interlock_server.audit.framing import ORIGIN, torn_path, unframed
from interlock_server.audit.reader import LINE_SIZE_MAX, Place, units
from interlock_server.audit.record import decode
from interlock_server.audit.verify_segment import FINDINGS_MAX, Finding, SegmentCheck, TextCheck

_TORN_SUFFIX = torn_path(Path(), 0).suffix


@dataclass(frozen=True)
class Report:
    """What was found: at most FINDINGS_MAX problems and notes.

    `head` is the digest (hex) to keep elsewhere: that of the last line of the last segment with records. A segment without
    any may be begun again by the server.
    """

    segments: int
    records: int
    first: Place | None
    last: Place | None
    head: str
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def verify(
    folder: Path,
    anchor: bytes | None = None,
    key: bytes | None = None,
    private_key: bytes | None = None,
    advance: Callable[[int], object] = lambda size_bytes: None,
) -> Report:
    """Reads all of a log; raises LogError when it is none. With `key`, kept texts must have the hashes of their records.

    `advance` is told the size of each unit once it was read.
    """
    log = _Log(anchor)
    texts = TextCheck(folder, key, private_key)
    for number, parts in groupby(units(folder), key=lambda unit: unit.segment):
        segment = SegmentCheck(number, list(parts), texts, anchor)
        for size_bytes in segment.read():
            advance(size_bytes)
        log.add(segment)
    log.close(folder)
    return log.report()


class _Log:
    """What the segments are together. Each is taken once the next one is known, which says how much of it counts."""

    def __init__(self, anchor: bytes | None) -> None:
        self._anchor = anchor
        self._anchored = anchor is None
        self._newest: SegmentCheck | None = None
        self._gaps: list[tuple[int, int]] = []
        self._segments = self._records = self._retired_through = 0
        self._first: Place | None = None
        self._last: Place | None = None
        self._head = b""
        self._problems: list[Finding] = []
        self._notes: list[Finding] = []

    def add(self, segment: SegmentCheck) -> None:
        """The next segment, read."""
        before, self._newest = self._newest, segment
        if before is None:
            self._begin(segment)
        else:
            self._link(before, segment)
            if not before.end_line:
                before.note(0, "was not closed in order")
            self._take(before)
        if segment.start is not None:
            self._retired_through = max(self._retired_through, segment.start.retired_through)

    def close(self, folder: Path) -> None:
        """There are no more segments."""
        if self._newest is not None:
            if self._newest.unfinished():
                self._newest.note(self._newest.lines + 1, "is under way, or was cut short")
            self._take(self._newest)
        for first, last in self._gaps:
            if (first := max(first, self._retired_through + 1)) <= last:
                others = f", and all up to segment {last}" if first < last else ""
                self._problems.append(Finding(Place(first, 0), f"is missing{others}"))
        if self._retired_through:
            self._notes.append(
                Finding(Place(self._retired_through, 0), "and those before it were deleted by retention")
            )
        for path in folder.glob(f"*{_TORN_SUFFIX}"):
            if path.stem.isdecimal():
                what = f"{path.stat().st_size} torn bytes behind it were set aside"
                if _holds_record(path):
                    self._problems.append(Finding(Place(int(path.stem), 0), f"{what}, and there is a record in them"))
                else:
                    self._notes.append(Finding(Place(int(path.stem), 0), what))

    def report(self) -> Report:
        """Everything, in the order of the log."""
        problems, notes = sorted(self._problems), sorted(self._notes)
        if not self._anchored and self._last is not None:
            problems.insert(0, Finding(self._last, "is the last line, and none has the digest of the anchor"))
        return Report(
            segments=self._segments,
            records=self._records,
            first=self._first,
            last=self._last,
            head=self._head.hex(),
            problems=tuple(problems[:FINDINGS_MAX]),
            notes=tuple(notes[:FINDINGS_MAX]),
        )

    def _begin(self, segment: SegmentCheck) -> None:
        if segment.number > 1:
            self._gaps.append((1, segment.number - 1))
        self._first = Place(segment.number, 1)
        if segment.previous is not None and (segment.number == 1) != (segment.previous == ORIGIN):
            segment.problem(1, "is not the beginning of this log")
        self._anchored = self._anchored or segment.previous == self._anchor

    def _link(self, before: SegmentCheck, segment: SegmentCheck) -> None:
        if segment.number > before.number + 1:
            self._gaps.append((before.number + 1, segment.number - 1))
        elif segment.previous is not None and not before.settle(segment.previous):
            segment.problem(1, f"does not follow segment {before.number}")

    def _take(self, segment: SegmentCheck) -> None:
        self._segments += 1
        self._records += segment.records
        self._last = Place(segment.number, segment.lines)
        self._anchored = self._anchored or segment.anchored
        head = segment.last if segment.records else self._head or segment.previous
        self._head = head or b""
        self._problems += segment.problems[: FINDINGS_MAX - len(self._problems)]
        self._notes += segment.notes[: FINDINGS_MAX - len(self._notes)]


def _holds_record(path: Path) -> bool:
    """Whether there is a whole line with a record in what was set aside: a crash leaves only a part of one."""
    with path.open("rb") as file:
        while line := file.readline(LINE_SIZE_MAX):
            with suppress(ValueError, RecursionError):
                if (parts := unframed(line)) is not None:
                    decode(parts[1])
                    return True
    return False
