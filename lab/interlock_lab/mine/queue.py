"""The queue as files: JSONL with everything, to come back to, and CSV for who labels, with nothing that could sway them.

Both may hold texts under judgement: only their owner may read them, and no file that is there is overwritten, since it may
hold labels by now.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec
from interlock_server.audit.reader import TextGone, Texts
from interlock_server.errors import ConfigError

from interlock_lab.mine.candidates import Candidate
from interlock_lab.mine.sampling import Drawn, Stratum
from interlock_lab.training.rows import CATEGORIES

BLANK_COLUMNS = (*CATEGORIES, "severity", "clarity")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange to be labelled. `propensity` is the probability with which it could have been drawn."""

    verdict_id: str
    request_id: str
    caller: str
    log: str
    segment: int
    time_unix_ns: int
    released: bool
    reasons: tuple[str, ...]
    margin: float | None
    disagreement: float | None
    """In nats, as recorded."""
    spread: float
    """In standard deviations of the members' own scores: what was mined by, with the margin."""
    drawn_as: Stratum
    propensity: float
    prompt: str | None
    completion: str | None
    text_gone: str = ""
    """Why there is no text."""


def items(
    candidates: Sequence[Candidate],
    drawn: Iterable[Drawn],
    share: float,
    logs: Sequence[Path],
    private_key: bytes | None,
) -> list[Item]:
    """Those that were drawn from candidates who stand for a share of all."""
    texts = [Texts(log, private_key) for log in logs]
    found = []
    for one in drawn:
        candidate = candidates[one.index]
        record, place = candidate.record, candidate.at
        kept = texts[place.log].of(place.segment, record)
        prompt, completion = (None, None) if isinstance(kept, TextGone) else map(_readable, kept)
        found.append(
            Item(
                verdict_id=record.verdict_id,
                request_id=record.request_id,
                caller=record.caller,
                log=logs[place.log].name,
                segment=place.segment,
                time_unix_ns=record.time_unix_ns,
                released=candidate.released,
                reasons=tuple(map(str, record.decided.reasons)),
                margin=record.decided.margin,
                disagreement=record.decided.disagreement,
                spread=candidate.spread,
                drawn_as=one.stratum,
                propensity=one.propensity * share,
                prompt=prompt,
                completion=completion,
                text_gone=str(kept) if isinstance(kept, TextGone) else "",
            )
        )
    return found


def write_jsonl(path: Path, queue: Iterable[Item]) -> None:
    write_lines(path, (msgspec.json.encode(item).decode() for item in queue))


def write_lines(path: Path, contents: Iterable[str]) -> None:
    """A new file, for its owner's eyes; raises ConfigError when there is one."""
    with _new_file(path) as file:
        file.writelines(f"{line}\n" for line in contents)


def write_csv(path: Path, queue: Iterable[Item]) -> None:
    """Columns to be filled in behind the texts; no verdict, and not in which stratum it was drawn."""
    with _new_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(("verdict_id", "request_id", "prompt", "completion", *BLANK_COLUMNS))
        for item in queue:
            cells = (item.verdict_id, item.request_id, item.prompt or "", item.completion or "")
            writer.writerow((*map(_inert, cells), *("" for _ in BLANK_COLUMNS)))


def read(path: Path) -> dict[str, Item]:
    """By verdict; raises ConfigError naming the line that is wrong."""
    decoder, found = msgspec.json.Decoder(Item), dict[str, Item]()
    for number, line in lines(path):
        try:
            item = decoder.decode(line)
        except ValueError as error:
            raise ConfigError(f"{path.name}, line {number}: is not an item of a queue") from error
        found[item.verdict_id] = item
    return found


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that are not blank, with their numbers; raises ConfigError when the file cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}") from error


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    with open(handle, "w", encoding="utf-8", newline="") as file:
        yield file


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _inert(cell: str) -> str:
    """Nothing that a spreadsheet would compute."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
