"""Audit logs by hand: any records, line by line through framing.py, with nothing of the writer but its texts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from decision.samples import HARMFUL, SAFE, evidence, policy
from interlock_server.audit.framing import ORIGIN, chained, framed, log_path, texts_path
from interlock_server.audit.record import (
    FORMAT,
    Digests,
    FeedbackRecord,
    Record,
    SegmentEnd,
    SegmentStart,
    TextTrace,
    VerdictRecord,
    decided,
    encode,
)
from interlock_server.audit.texts import TextKeeper
from interlock_server.decision.decide import decide

BEGUN_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
POLICY = policy()
"""Under which the verdicts of the samples were decided."""
EVERY_TEXT = {"RELEASE": 1.0}
"""The shares of a keeper that keeps what it is given here."""
DIGESTS = Digests(bundle="sha256:b", policy="sha256:p", build="test")


def verdict_id(number: int) -> str:
    """As long as a real one."""
    return f"00000000-0000-4000-8000-{number:012d}"


def verdict(number: int, **changes: Any) -> VerdictRecord:
    """Every third is withheld; each is a second after the one before. Unless it is changed, POLICY decides it again the same."""
    score = HARMFUL if number % 3 == 0 else SAFE
    given = changes.pop("evidence", None) or evidence(score, score)
    fields = {
        "verdict_id": verdict_id(number),
        "time_unix_ns": BEGUN_NS + number * SECOND_NS,
        "rpc": "Screen",
        "caller": f"caller-{number % 2}",
        "evidence": given,
        "decided": decided(decide(given, POLICY)),
        "digests": DIGESTS,
        "text": TextTrace(prompt_bytes=number, completion_bytes=2 * number),
    }
    return VerdictRecord(**{**fields, **changes})


def verdicts(count: int, first: int = 1) -> list[VerdictRecord]:
    """Some in a row."""
    return [verdict(number) for number in range(first, first + count)]


def feedback(number: int, **changes: Any) -> FeedbackRecord:
    """On the verdict with this number, long after it."""
    fields = {"verdict_id": verdict_id(number), "time_unix_ns": BEGUN_NS + 10**15, "label": "FINE"}
    return FeedbackRecord(**{**fields, **changes})


def write_segment(
    folder: Path,
    number: int,
    records: Iterable[Record],
    previous: bytes = ORIGIN,
    ended: bool = True,
    texts: Mapping[str, tuple[bytes, bytes]] | None = None,
    keeper: TextKeeper | None = None,
    **start: Any,
) -> list[bytes]:
    """Writes one segment and gives the digests of its lines; verdicts named in `texts` keep them, as `keeper` does."""
    keeper, kept = keeper or TextKeeper(kept="full", shares=EVERY_TEXT), b""
    stored: list[Record] = [_start(number, previous, **start)]
    for record in records:
        if isinstance(record, VerdictRecord) and texts and record.verdict_id in texts:
            trace, frame = keeper.trace(record.verdict_id, *texts[record.verdict_id], "RELEASE", len(kept))
            record, kept = msgspec.structs.replace(record, text=trace), kept + frame
        stored.append(record)
    if ended:
        stored.append(SegmentEnd(time_unix_ns=BEGUN_NS + 10**15, records=len(stored) - 1))
    digests = write_lines(log_path(folder, number), stored, previous)
    if kept:
        texts_path(folder, number).write_bytes(kept)
    return digests


def write_log(folder: Path, *segments: Sequence[Record], ended: bool = False, **options: Any) -> list[bytes]:
    """Writes a log of these segments, from number 1, and gives all digests; the last segment stays open unless `ended`."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = [ORIGIN]
    for number, records in enumerate(segments, 1):
        closed = ended or number < len(segments)
        digests += write_segment(folder, number, records, digests[-1], closed, **options)
    return digests[1:]


def write_lines(path: Path, records: Iterable[Record], previous: bytes) -> list[bytes]:
    """Writes a file of lines, whatever they are, and gives their digests."""
    digests = []
    with path.open("wb") as file:
        for record in records:
            content = encode(record)
            previous = chained(previous, content)
            digests.append(previous)
            file.write(framed(previous, content))
    return digests


def _start(number: int, previous: bytes, **changes: Any) -> SegmentStart:
    fields = {
        "format": FORMAT,
        "number": number,
        "previous": "" if previous == ORIGIN else previous.hex(),
        "time_unix_ns": BEGUN_NS,
        "build": "test",
    }
    return SegmentStart(**{**fields, **changes})
