"""Logs to mine: verdicts with texts that are kept, and the command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audit.samples import verdict_id, write_log
from interlock_lab.mine.candidates import Found, find
from interlock_lab.mine.command import mine
from interlock_server.audit.record import Record, VerdictRecord
from interlock_server.audit.texts import TextKeeper
from typer import Typer
from typer.testing import CliRunner

KEEPER = TextKeeper(key=b"k" * 32, kept="full", shares={"RELEASE": 1.0})
HASHER = TextKeeper(key=b"k" * 32)
"""Keeps nothing but hashes."""
WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "juniper",
    "kelp",
    "larch",
    "maple",
)


def text(number: int) -> bytes:
    """Unlike every other one."""
    return " ".join(f"{word}{number * 97 + place}" for place, word in enumerate(WORDS * 4)).encode()


def log_of(
    folder: Path, *records: Record, keeper: TextKeeper = KEEPER, texts: Mapping[int, tuple[bytes, bytes]] | None = None
) -> Path:
    """A log whose verdicts keep the texts of their numbers: by default each one of its own, and a prompt of its own."""
    numbers = [int(record.verdict_id[-12:]) for record in records if isinstance(record, VerdictRecord)]
    own = {number: (f"prompt {number}".encode(), text(number)) for number in numbers}
    kept = {verdict_id(number): pair for number, pair in {**own, **(texts or {})}.items()}
    write_log(folder, records, texts=kept, keeper=keeper)
    return folder


def found_in(folder: Path, *records: VerdictRecord, limit: int = 1_000, **options: Any) -> Found:
    """The candidates of such a log."""
    return find([log_of(folder, *records, **options)], None, "", lambda size_bytes: None, limit)


def groups_in(folder: Path, *records: VerdictRecord, **options: Any) -> list[list[int]]:
    """The numbers of the verdicts that belong together."""
    groups: dict[int, list[int]] = {}
    for one in found_in(folder, *records, **options).candidates:
        groups.setdefault(one.group, []).append(int(one.record.verdict_id[-12:]))
    return sorted(map(sorted, groups.values()))


class Ran(NamedTuple):
    """What a run of the command gave."""

    code: int
    output: str
    error: BaseException | None


def run(*arguments: object) -> Ran:
    """`interlock mine`."""
    app = Typer()
    app.command()(mine)
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "160"})
    return Ran(result.exit_code, result.output, result.exception)
