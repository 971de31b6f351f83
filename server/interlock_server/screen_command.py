"""`interlock screen`: one exchange, or a file of them, through a server or with the models in this process."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import typer
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter, SettingsError, Tls, Verdict
from interlock_client.responses import verdict_of
from interlock_client.settings import ClientSettings
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from interlock_server.errors import ConfigError

RELEASED, ERROR, WITHHELD = 0, 1, 3
PATIENT_S = 60.0  # offline nobody waits: a busy machine should cost time, not verdicts

Screen = Callable[[bytes, bytes], Awaitable[Verdict]]


def screen(
    prompt: Annotated[str, typer.Option(help="What the completion answers or continues.")] = "",
    completion: Annotated[str | None, typer.Option(help="The text that asks to be released.")] = None,
    target: Annotated[str | None, typer.Option(help="HOST:PORT of a server.")] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Who signed the server's certificate (PEM); without it, no TLS.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token of a caller, for --target.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run the models in this process (the default).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    file: Annotated[Path | None, typer.Option(help="JSON Lines of {id, prompt, completion}.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write a verdict for each line of FILE.")] = None,
    profile: Annotated[str, typer.Option(help="A profile of the policy; its default by default.")] = "",
    config: Annotated[Path | None, typer.Option(help="The configuration file, with --local.")] = None,
) -> None:
    """Screen one exchange (exit code 0 released, 3 withheld) or a file of them (0 when every line was read)."""
    if (completion is None) == (file is None) or (file is None) != (out is None) or (local and target):
        raise ConfigError("screen: give --completion, or --file and --out; and at most one of --local and --target")
    opened = _remote(target, profile, ca, token_file) if target else _local(config, profile)
    if file is not None and out is not None:
        raise typer.Exit(_screen_file(opened, file, out))
    verdict = asyncio.run(_screen_one(opened, _encode(prompt), _encode(completion or "")))
    Console().print_json(verdict.to_json()) if as_json else _print(verdict)
    raise typer.Exit(RELEASED if verdict else WITHHELD)


class _Opened(NamedTuple):
    """A way to screen, and how many exchanges it is good to have under way."""

    screen: Screen
    concurrency: int


@asynccontextmanager
async def _remote(target: str, profile: str, ca: Path | None, token_file: Path | None) -> AsyncIterator[_Opened]:
    try:
        tls = Tls(root=ca) if ca else None
        made = AsyncSafetyFilter(
            targets=target, profile=profile, detail="full", timeout_s=10.0, tls=tls, token_file=token_file
        )
    except SettingsError as error:
        raise ConfigError(f"screen: {error}") from error
    async with made as client:
        yield _Opened(lambda prompt, completion: client.screen(prompt=prompt, completion=completion), 8)


@asynccontextmanager
async def _local(config_path: Path | None, profile: str) -> AsyncIterator[_Opened]:
    from interlock_server.app import load, running_filter
    from interlock_server.config import load_config
    from interlock_server.metrics import Metrics
    from interlock_server.screening import Request
    from interlock_server.transport.translate import to_verdict

    config = load_config(config_path)
    bundle = load(config)
    if profile and profile not in bundle.policy.profiles:
        raise ConfigError(f"--profile: the policy has {', '.join(sorted(bundle.policy.profiles))}")
    settings = ClientSettings(targets="127.0.0.1:1", profile=profile, detail="full")  # never connects
    async with running_filter(config, bundle, Metrics(), budget_s=PATIENT_S) as safety_filter:

        async def screen_local(prompt: bytes, completion: bytes) -> Verdict:
            screening = await safety_filter.screen(Request(prompt, completion, profile))
            message = to_verdict(screening, pb.DETAIL_FULL, "full", bundle.policy.shadow)
            return verdict_of(message, sha256(completion).digest(), settings)

        yield _Opened(screen_local, 2 * config.inference.lanes)


async def _screen_one(opening: Any, prompt: bytes, completion: bytes) -> Verdict:
    async with opening as opened:
        verdict: Verdict = await opened.screen(prompt, completion)
        return verdict


def _screen_file(opening: Any, file: Path, out: Path) -> int:
    """Verdicts in the order of the lines. A line that is no exchange is withheld and counted, and the rest goes on."""
    bad_lines = 0
    try:
        with file.open("rb") as lines, out.open("w", encoding="utf-8") as results, Progress() as progress:
            task = progress.add_task(f"screening {file.name}", total=file.stat().st_size)

            def emit(result: _Result) -> None:
                nonlocal bad_lines
                results.write(json.dumps(result.row) + "\n")
                bad_lines += result.bad
                progress.advance(task, result.size_bytes)

            asyncio.run(_screen_lines(opening, lines, emit))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    if bad_lines:
        typer.echo(f"interlock: {file.name}: {bad_lines} lines are no exchanges and were withheld", err=True)
    return ERROR if bad_lines else RELEASED


class _Result(NamedTuple):
    """The output for one line of input."""

    size_bytes: int
    row: dict[str, Any]
    bad: bool = False


async def _screen_lines(opening: Any, lines: IO[bytes], emit: Callable[[_Result], None]) -> None:
    """Emits in order, with some exchanges under way at once, so that every core has work."""
    under_way: deque[asyncio.Task[_Result]] = deque()
    async with opening as opened, asyncio.TaskGroup() as tasks:
        for line in lines:
            if line.strip():
                under_way.append(tasks.create_task(_judge(line, opened.screen)))
            if len(under_way) >= opened.concurrency:
                emit(await under_way.popleft())
        while under_way:
            emit(await under_way.popleft())


async def _judge(line: bytes, screen_one: Screen) -> _Result:
    row = _parse(line)
    if row is None:
        return _Result(len(line), {"id": None, **Verdict(reasons=("INPUT_UNREADABLE",)).as_dict()}, bad=True)
    verdict = await screen_one(_encode(row["prompt"]), _encode(row["completion"]))
    return _Result(len(line), {"id": row["id"], **verdict.as_dict()})


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or "id" not in row or not isinstance(row.get("completion"), str):
        return None
    row.setdefault("prompt", "")
    return row if isinstance(row["prompt"], str) else None


def _encode(text: str) -> bytes:
    """UTF-8; what cannot be encoded stays unreadable, and is withheld as such."""
    return text.encode("utf-8", "surrogatepass")


def _print(verdict: Verdict) -> None:
    """The verdict as a person reads it: the decision first, then why, then who said what."""
    console = Console()
    decision = "RELEASE" if verdict else "WITHHOLD"
    console.print(f"[bold {'green' if verdict else 'red'}]{decision}[/]  {' '.join(_headline(verdict))}")
    if verdict.scores:
        categories = list(dict.fromkeys(c for scores in verdict.scores.values() for c in scores))
        table = Table("member", *categories)
        for member, scores in verdict.scores.items():
            table.add_row(member, *(f"{scores[c]:.4f}" if c in scores else "-" for c in categories))
        console.print(table)


def _headline(verdict: Verdict) -> Iterator[str]:
    if verdict.reasons and not verdict:
        yield ", ".join(verdict.reasons)
    if verdict.margin is not None:
        yield f"margin {verdict.margin:+.2f} nats"
    if not verdict and verdict.action:
        yield f"action {verdict.action}"
    for member, cause in verdict.missing.items():
        yield f"{member} missing: {cause}"
