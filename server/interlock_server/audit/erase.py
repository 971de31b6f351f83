"""Finds verdicts by their ids, and erases the texts that are kept of them. The records, and so the chain, stay as they are."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from interlock_server.audit import framing
from interlock_server.audit.reader import Damage, LogError, Place, record_bytes, text_frame, units
from interlock_server.audit.record import FeedbackRecord, VerdictRecord, decode


class Found(NamedTuple):
    """A record and where it is."""

    place: Place
    record: VerdictRecord | FeedbackRecord


def find(folder: Path, ids: Collection[str]) -> Iterator[Found]:
    """Every undamaged record, in order, of these verdicts or streams and of the feedback on them; raises LogError."""
    named = re.compile(b"|".join(re.escape(each.encode()) for each in ids))
    for unit in units(folder):
        for entry in record_bytes(unit):
            if isinstance(entry, Damage) or not named.search(entry[1]):
                continue
            with suppress(ValueError, RecursionError):
                record = decode(entry[1])
                if isinstance(record, VerdictRecord | FeedbackRecord) and not _names(record).isdisjoint(ids):
                    yield Found(entry[0], record)


def erase(folder: Path, verdict_ids: Collection[str]) -> None:
    """Overwrites the kept texts of these verdicts; raises LogError, before any is erased, when one has none.

    A verdict on a part of a stream stands for the whole stream, whose parts overlap. To erase a text twice is no error.
    """
    asked = [record for _, record in find(folder, verdict_ids) if isinstance(record, VerdictRecord)]
    streams = {record.stream.stream_id for record in asked if record.stream is not None}
    kept = [
        (place, record)
        for place, record in find(folder, {*verdict_ids, *streams})
        if isinstance(record, VerdictRecord) and record.text.kept != "none"
    ]
    have = set().union(*(_names(record) for _, record in kept))
    lacking = set(verdict_ids) - {record.verdict_id for record in asked if not _names(record).isdisjoint(have)}
    if lacking:
        raise LogError(f"of these verdicts no text is kept: {', '.join(sorted(lacking))}")
    for change in (_check, _erase):
        for place, record in kept:
            try:
                change(folder, place.segment, record)
            except (OSError, ValueError) as error:
                raise LogError(f"{place}: its kept text cannot be erased ({type(error).__name__})") from None


def _names(record: VerdictRecord | FeedbackRecord) -> set[str]:
    """What a record can be found by."""
    stream = record.stream if isinstance(record, VerdictRecord) else None
    return {record.verdict_id} | ({stream.stream_id} if stream is not None else set())


def _check(folder: Path, segment: int, record: VerdictRecord) -> None:
    text_frame(folder, segment, record)


def _erase(folder: Path, segment: int, record: VerdictRecord) -> None:
    """The content before the kind: what is marked as erased is erased, whenever the power fails."""
    _, content = text_frame(folder, segment, record)
    frame = framing.TextFrame(record.verdict_id, framing.ERASED, bytes(len(content))).to_bytes()
    head_end = framing.TEXT_HEAD_SIZE
    with framing.texts_path(folder, segment).open("r+b", buffering=0) as file:
        for start, end in ((head_end, len(frame)), (0, head_end)):
            file.seek((record.text.offset or 0) + start)
            file.write(frame[start:end])
            os.fsync(file.fileno())
