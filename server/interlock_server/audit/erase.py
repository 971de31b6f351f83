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


def find(folder: Path, verdict_ids: Collection[str]) -> Iterator[Found]:
    """Every undamaged record, in order, of these verdicts and of the feedback on them; raises LogError."""
    named = re.compile(b"|".join(re.escape(verdict_id.encode()) for verdict_id in verdict_ids))
    for unit in units(folder):
        for entry in record_bytes(unit):
            if isinstance(entry, Damage) or not named.search(entry[1]):
                continue
            with suppress(ValueError, RecursionError):
                record = decode(entry[1])
                if isinstance(record, VerdictRecord | FeedbackRecord) and record.verdict_id in verdict_ids:
                    yield Found(entry[0], record)


def erase(folder: Path, verdict_ids: Collection[str]) -> None:
    """Overwrites the kept texts of these verdicts; raises LogError, before any is erased, when one has none.

    To erase a text twice is no error.
    """
    kept = [
        (place, record)
        for place, record in find(folder, verdict_ids)
        if isinstance(record, VerdictRecord) and record.text.kept != "none"
    ]
    lacking = set(verdict_ids) - {record.verdict_id for _, record in kept}
    if lacking:
        raise LogError(f"of these verdicts no text is kept: {', '.join(sorted(lacking))}")
    for change in (_check, _erase):
        for place, record in kept:
            try:
                change(folder, place.segment, record)
            except (OSError, ValueError) as error:
                raise LogError(f"{place}: its kept text cannot be erased ({type(error).__name__})") from None


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
