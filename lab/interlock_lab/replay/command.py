"""`interlock replay`: a recorded log under another policy, bundle or server. The exit code is made to gate a rollout."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from interlock_server.audit.reader import TextGone, Texts
from interlock_server.errors import ConfigError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from interlock_lab.replay.checkpoint import Checkpoint
from interlock_lab.replay.engines import Numbered, Tallies, local, on_ray
from interlock_lab.replay.figures import Figures, figures
from interlock_lab.replay.inputs import Options, Task, read_key, speed_of, task
from interlock_lab.replay.page import rendered
from interlock_lab.replay.redecide import ANOTHER_BUNDLE, DETAIL_NOT_GRANTED, NOT_ANSWERED
from interlock_lab.replay.report import print_report
from interlock_lab.replay.tally import At, Tally

ERROR, NEW_RELEASES, INCOMPLETE, IRREPRODUCIBLE = 1, 2, 3, 4
ENGINES = ("local", "ray")
UNHEARD = frozenset({NOT_ANSWERED, DETAIL_NOT_GRANTED, *(f"TEXT_{cause}" for cause in TextGone)})
"""Of verdicts that were to be compared, and for want of a text or an answer were not."""


def replay(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Folders of audit logs.")],
    policy: Annotated[str | None, typer.Option(help="A profile of the bundle's policy, or a policy file.")] = None,
    profile: Annotated[str | None, typer.Option(help="Decide every record by this profile, not by its own.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle that the log is from; the one that ships.")] = None,
    any_bundle: Annotated[bool, typer.Option("--any-bundle", help="Also decide evidence of other bundles.")] = False,
    rescore: Annotated[Path | None, typer.Option(help="Score kept texts again, with this bundle.")] = None,
    target: Annotated[str | None, typer.Option(help="HOST:PORT: ask a server about kept texts.")] = None,
    speed: Annotated[str, typer.Option(help="Of --target: a multiple of the recorded pace, or max.")] = "1",
    shadow: Annotated[str | None, typer.Option(help="Report what this shadow policy said at the time.")] = None,
    since: Annotated[str | None, typer.Option(help="Verdicts and reports from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Verdicts and reports before this time.")] = None,
    caller: Annotated[str | None, typer.Option(help="Verdicts for this caller.")] = None,
    category: Annotated[str | None, typer.Option(help="Verdicts withheld for it, before or now.")] = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="A Ray cluster that is there; by default one is started.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="By default one for each core.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    html_out: Annotated[Path | None, typer.Option("--html", help="Write them as a page here.")] = None,
    max_new_releases: Annotated[int | None, typer.Option(min=0, help="More of them are exit code 2.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A verdict that cannot be compared is exit code 3.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Keep progress in this file, and go on from it.")] = None,
    private_key: Annotated[
        Path | None, typer.Option(help="Opens encrypted texts: a file with 32 bytes in hex.")
    ] = None,
) -> None:
    """Decide a recorded log again and list every verdict that changes, new releases first.

    Exit codes, the first that holds:

    \b
    4  a verdict did not come again under its own policy: a fault of ours
    3  damaged records
    1  wrong options, or records of another bundle than --bundle
    3  with --strict: verdicts that cannot be compared
    3  with --max-new-releases: no verdict was compared, or for some the text or the answer is missing
    2  more new releases than --max-new-releases, parts of streams included
    0  none of these
    """
    if engine not in ENGINES:
        raise ConfigError(f"--engine: must be {' or '.join(ENGINES)}")
    for option, path in (("json", json_out), ("html", html_out), ("resume", resume)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"--{option}: there is no folder {path.parent}")
    given = Options(
        tuple(logs), policy, profile, bundle, any_bundle, rescore, target, speed, shadow, since, until, caller, category,
        engine, ray_address, workers, private_key,
    )  # fmt: skip
    asked = task(given)
    tally = _run(asked, read_key(private_key), resume)
    tally.merge(lost(asked.missing))
    report = {"plan": asked.described, **figures(tally, [str(log) for log in logs])}
    if json_out is not None:
        json_out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if html_out is not None:
        html_out.write_text(rendered(report), encoding="utf-8")
    print_report(report, Console())
    _say_another_bundle(report)
    raise typer.Exit(exit_code(report, max_new_releases, strict))


def exit_code(report: Figures, max_new_releases: int | None, strict: bool) -> int:
    """The gravest that holds."""
    new_releases, unjudged = report["to_release"]["count"], report["unjudged"]
    judged = report["verdicts"]["judged"] + report["stream_parts"]["judged"]
    gated = max_new_releases is not None
    table = (
        (IRREPRODUCIBLE, report["irreproducible"]["count"] > 0),
        (INCOMPLETE, report["damage"]["count"] > 0),
        (ERROR, ANOTHER_BUNDLE in unjudged),
        (INCOMPLETE, strict and bool(unjudged)),
        (INCOMPLETE, gated and (not judged or not UNHEARD.isdisjoint(unjudged))),
        (NEW_RELEASES, max_new_releases is not None and new_releases > max_new_releases),
    )
    return next((code for code, holds in table if holds), 0)


def lost(missing: Sequence[At]) -> Tally:
    """Segments that are not there, as damage."""
    tally = Tally()
    for at in missing:
        tally.damage.add(at, "is not there")
    return tally


def _run(asked: Task, private_key: bytes | None, resume: Path | None) -> Tally:
    """Every unit that is not done yet, with a progress bar."""
    checkpoint = Checkpoint(resume, asked.digest)
    jobs = [(number, job) for number, job in enumerate(asked.jobs) if number not in checkpoint.done]
    columns = (
        "{task.description}",
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("replaying", total=sum(job.unit.size_bytes for _, job in jobs), rate="")
        begun_s, records = time.monotonic(), 0

        def advance(number: int, part: Tally) -> None:
            nonlocal records
            records += part.records
            rate = f"{records / (time.monotonic() - begun_s):,.0f} records/s"
            progress.update(bar, advance=asked.jobs[number].unit.size_bytes, rate=rate)

        return checkpoint.collect(_tallies(asked, jobs, private_key), advance)


def _tallies(asked: Task, jobs: Numbered, private_key: bytes | None) -> Tallies:
    """Where and how the verdicts come about."""
    options, plan = asked.options, asked.plan
    workers = options.workers or len(os.sched_getaffinity(0))
    if options.mode in ("rescore", "target"):
        return _asked_again(asked, jobs, [Texts(log, private_key) for log in options.logs])
    if options.engine == "ray":
        return on_ray(jobs, plan, workers, options.ray_address)
    return local(jobs, plan, workers)


def _asked_again(asked: Task, jobs: Numbered, texts: Sequence[Texts]) -> Tallies:
    from interlock_lab.replay.bulk import asked as ask_each
    from interlock_lab.replay.rescore import rescorer
    from interlock_lab.replay.target import connected

    options, plan = asked.options, asked.plan
    if options.target is not None:
        return ask_each(jobs, connected(options.target, plan, texts, speed_of(options.speed)), plan.wanted)
    return ask_each(jobs, rescorer(asked.bundle, asked.policy_file, plan, texts), plan.wanted)


def _say_another_bundle(report: Figures) -> None:
    found = report["unjudged"].get(ANOTHER_BUNDLE)
    if found:
        typer.echo(
            f"interlock: {found['count']} records are of bundle {found['first'][0]['detail']}, not of"
            f" {report['plan']['bundle']}: name theirs with --bundle, or decide them all the same with --any-bundle",
            err=True,
        )
