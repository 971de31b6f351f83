"""`interlock audit`: verify, seal, list, show and erase what is in an audit log, and make the keys for it."""

import json
import os
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from interlock_server.audit.reader import Damage, LogError, TextGone, Texts, Unit, entries, units
from interlock_server.audit.record import VerdictRecord
from interlock_server.errors import ConfigError

PROBLEMS = 1
_PROGRESS_BYTES_MIN = 256 * 1024 * 1024
_NICENESS = 10
_KEY_SIZE = 32

audit_app = typer.Typer(no_args_is_help=True, help="Work with the audit log.")

Folder = Annotated[Path, typer.Argument(help="The folder of the log.", show_default=False)]
PrivateKeyOption = Annotated[Path | None, typer.Option("--private-key", help="The key that opens encrypted texts.")]


class _Extent(NamedTuple):
    """How long a segment is, and from when to when."""

    lines: int
    begins: str = ""
    ends: str = ""


@audit_app.command()
def verify(
    folder: Folder,
    anchor: Annotated[
        str | None, typer.Option(help="The head that an earlier verification printed: the log must still hold it.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The key of the hashes: kept texts must have those of their records.")
    ] = None,
    private_key: PrivateKeyOption = None,
) -> None:
    """Verify the whole log (exit code 0 when nothing is wrong, 1 with a line for each problem).

    A chain cannot tell that lines are missing at its very end. Keep the head that this prints where nobody who can write
    the log can write too, and give it as --anchor the next time.
    """
    from interlock_server.audit import verify as verifying

    digest = _from_hex(anchor, "--anchor") if anchor is not None else None
    keys = _key(key, "--key"), _key(private_key, "--private-key")
    total_bytes = sum(unit.size_bytes for unit in units(folder))
    with Progress(console=Console(stderr=True), disable=total_bytes < _PROGRESS_BYTES_MIN) as progress:
        task = progress.add_task(f"verifying {folder.name}", total=total_bytes)
        report = verifying.verify(folder, digest, *keys, advance=lambda size: progress.advance(task, size))
    for note in report.notes:
        typer.echo(f"note     {note}")
    for problem in report.problems:
        typer.echo(f"problem  {problem}")
    typer.echo(f"records  {report.records} in {report.segments} segments, from {report.first} to {report.last}")
    typer.echo(f"head     {report.head}")
    raise typer.Exit(PROBLEMS if report.problems else 0)


@audit_app.command()
def seal(folder: Folder) -> None:
    """Turn closed segments into Parquet; one that is damaged is left as it is (exit code 1). Two of these never run at once."""
    from interlock_server.audit import seal as sealing

    os.nice(_NICENESS)
    damages = []
    try:
        damages = [result for result in sealing.seal(folder) if isinstance(result, Damage)]
    except sealing.AlreadySealing as error:
        typer.echo(f"interlock: {error}", err=True)
    for damage in damages:
        typer.echo(f"interlock: not sealed: {damage.place}: {damage.what}", err=True)
    raise typer.Exit(PROBLEMS if damages else 0)


@audit_app.command("list")
def list_segments(folder: Folder) -> None:
    """List the segments: what state they are in, how many lines they have, from when, and how large their files are."""
    table = Table("segment", "state", "lines", "from (UTC)", "to (UTC)", "bytes")
    segments = [list(parts) for _, parts in groupby(units(folder), key=lambda unit: unit.segment)]
    for parts in segments:
        sealed, path = parts[0].group is not None, parts[0].path
        state = "sealed" if sealed else "open" if parts is segments[-1] else "closed"
        lines, begins, ends = _sealed_extent(parts) if sealed else _extent(parts[0])
        size_bytes = path.stat().st_size if path.exists() else 0
        table.add_row(str(parts[0].segment), state, str(lines), begins, ends, str(size_bytes))
    Console().print(table)


@audit_app.command()
def show(
    folder: Folder,
    verdict_id: Annotated[str, typer.Argument(help="As the verdict had it.", show_default=False)],
    text: Annotated[bool, typer.Option("--text", help="Also the texts, if they are kept.")] = False,
    private_key: PrivateKeyOption = None,
) -> None:
    """Show what is recorded of a verdict and the feedback on it, as JSON."""
    from interlock_server.audit.erase import find

    texts = Texts(folder, _key(private_key, "--private-key"))
    shown = []
    for place, record in find(folder, [verdict_id]):
        item = {"segment": place.segment, "line": place.line, "record": msgspec.to_builtins(record)}
        if text and isinstance(record, VerdictRecord):
            item["text"] = _readable(texts.of(place.segment, record))
        shown.append(item)
    if not shown:
        raise LogError(f"{folder}: no record has the id {verdict_id}")
    typer.echo(json.dumps(shown, indent=2))


@audit_app.command()
def erase(
    folder: Folder,
    verdict_ids: Annotated[list[str], typer.Argument(help="Those whose texts are to go.", show_default=False)],
) -> None:
    """Overwrite the texts that are kept of verdicts. Their records stay, and so the log stays whole."""
    from interlock_server.audit import erase as erasing

    erasing.erase(folder, verdict_ids)


@audit_app.command()
def new_keys(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; the public one goes to FILE.pub.")],
) -> None:
    """Make a pair of keys for `audit.text: encrypted`. The server needs only the public one: keep the private one elsewhere."""
    from nacl.public import PrivateKey

    private_key = PrivateKey.generate()
    for path, key in ((file, private_key), (file.with_name(f"{file.name}.pub"), private_key.public_key)):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        with open(handle, "w", encoding="ascii") as opened:
            opened.write(bytes(key).hex() + "\n")


def _sealed_extent(parts: list[Unit]) -> _Extent:
    """By the footer, without reading the rows."""
    from interlock_server.audit import sealed

    try:
        groups = sealed.groups(parts[0].path)
    except sealed.Unreadable:
        return _Extent(0)
    times = [time for group in groups for time in group.times or ()]
    lines = sum(group.rows for group in groups)
    return _Extent(lines, _clock(min(times)), _clock(max(times))) if times else _Extent(lines)


def _extent(unit: Unit) -> _Extent:
    lines, begins, ends = 0, "", ""
    for entry in entries(unit):
        lines += 1
        if not isinstance(entry, Damage):
            ends = _clock(entry[1].time_unix_ns)
            begins = begins or ends
    return _Extent(lines, begins, ends)


def _clock(time_unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_unix_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


def _readable(found: tuple[bytes, bytes] | TextGone) -> object:
    """JSON escapes what a terminal would obey."""
    if isinstance(found, TextGone):
        return found
    return dict(
        zip(("prompt", "completion"), (text.decode("utf-8", "backslashreplace") for text in found), strict=True)
    )


def _key(path: Path | None, option: str) -> bytes | None:
    if path is None:
        return None
    try:
        return _from_hex(path.read_bytes().decode("ascii", "replace"), f"{option}: {path}")
    except OSError as error:
        raise ConfigError(f"{option}: {path}: {error.strerror}") from error


def _from_hex(text: str, source: str) -> bytes:
    try:
        content = bytes.fromhex(text)
    except ValueError:  # its message may quote a key
        content = b""
    if len(content) != _KEY_SIZE:
        raise ConfigError(f"{source}: must be {_KEY_SIZE} bytes in hex")
    return content
