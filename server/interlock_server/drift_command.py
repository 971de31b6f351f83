"""`interlock drift`: say which traffic is as it should be, see whether it still is, and end conservative mode."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from interlock_server.drift_files import (
    BaselineFile,
    Clearing,
    DriftSettings,
    StateFile,
    read_baseline,
    read_refutation,
    read_state,
    write,
)
from interlock_server.errors import ConfigError

SHUT = 1
_FOR_EVER_NS = 2**63

drift_app = typer.Typer(no_args_is_help=True, help="Compare traffic with what was attested.")

Logs = Annotated[list[Path], typer.Argument(metavar="LOG...", help="Folders of audit logs.", show_default=False)]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file (YAML).")]
By = Annotated[str, typer.Option("--by", help="Who says so; it is kept.", show_default=False)]
TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
Since = Annotated[datetime | None, typer.Option(formats=TIME_FORMATS, help="From this time on (UTC).")]
Until = Annotated[datetime | None, typer.Option(formats=TIME_FORMATS, help="Before this time (UTC).")]


@drift_app.command()
def attest(
    logs: Logs,
    by: By,
    out: Annotated[Path, typer.Option(help="Write the baseline here (.json).", show_default=False)],
    since: Since = None,
    until: Until = None,
    caller_share: Annotated[
        float, typer.Option(min=0.005, max=1.0, help="The largest share of the weight that one caller may have.")
    ] = 0.05,
    config: ConfigOption = None,
) -> None:
    """Attest that the traffic of a window is as it should be: the server compares later traffic with it.

    A baseline that is put in the place of the configured one also ends conservative mode, within a minute.
    """
    from interlock_server import attesting
    from interlock_server.app import load
    from interlock_server.config import load_config

    _check_json(out, "--out")
    bundle = load(load_config(config))
    window = attesting.Window(_ns(since, 0), _ns(until, _FOR_EVER_NS), by, caller_share)
    found = attesting.sample(logs, window, bundle.policy, bundle.digest)
    baseline = attesting.baseline_of(found, window, bundle.digest, bundle.policy.digest, datetime.now(UTC))
    write(out, baseline)
    _print_baseline(baseline, found.counted)


@drift_app.command()
def status(config: ConfigOption = None) -> None:
    """Show baseline, latch and refutation (exit code 1 when conservative or refuted)."""
    settings = _settings(config)
    shut = False
    if settings.baseline is None:
        typer.echo("baseline   none: nothing is compared")
    else:
        baseline = read_baseline(Path(settings.baseline))
        typer.echo(
            f"baseline   {baseline.digest} by {baseline.attested_by}, {baseline.since:%F} to {baseline.until:%F}"
        )
    if settings.state is not None:
        state = read_state(Path(settings.state))
        shut = state.latched is not None
        for word, content in (("latched", state.latched), ("cleared", state.cleared)):
            if content is not None:
                typer.echo(f"{word}    {content.model_dump_json()}")
    if settings.refutation is not None:
        refutation = read_refutation(Path(settings.refutation))
        refuted = refutation.refuted if refutation else []
        shut = shut or bool(refuted)
        typer.echo(f"refuted    {', '.join(refuted) or 'nothing'}")
    raise typer.Exit(SHUT if shut else 0)


@drift_app.command()
def clear(by: By, config: ConfigOption = None) -> None:
    """End conservative mode, or make the state for the first time: this attests that traffic is as the baseline says."""
    settings = _settings(config)
    if settings.state is None:
        raise ConfigError("drift.state: is not configured")
    baseline = read_baseline(Path(settings.baseline)).digest if settings.baseline is not None else ""
    write(Path(settings.state), StateFile(cleared=Clearing(by=by, at=datetime.now(UTC), baseline=baseline)))
    typer.echo(f"cleared by {by}; a running server takes note within {settings.reread_s:g} s")


@drift_app.command()
def refute_check(
    logs: Logs,
    queue: Annotated[
        list[Path], typer.Option("--queue", help="What interlock mine drew to be labelled.", show_default=False)
    ],
    delta: Annotated[float, typer.Option(min=1e-6, max=0.5, help="How often a true bound may be refuted.")] = 0.05,
    config: ConfigOption = None,
) -> None:
    """Bet the labels that came back through Report against the certificate (exit code 1 when it is refuted).

    Only what was drawn counts; labels that callers send of their own accord are no sample of harmful traffic.
    """
    from interlock_server import refuting
    from interlock_server.app import load
    from interlock_server.config import load_config

    loaded = load_config(config)
    if loaded.drift.refutation is None:
        raise ConfigError("drift.refutation: is not configured")
    bundle, path = load(loaded), Path(loaded.drift.refutation)
    if bundle.certificate is None:
        raise ConfigError("the policy has no certificate to refute")
    drawn = refuting.read_queues(queue)
    found = refuting.labelled(logs, drawn)
    claim = refuting.Claim(bundle.certificate.to_certificate(), bundle.digest, bundle.policy)
    result = refuting.check(claim, found, drawn, read_refutation(path), datetime.now(UTC), delta)
    write(path, result)
    typer.echo(f"{len(drawn)} were drawn, {len(found.labels)} of them are labelled")
    for category, one in result.categories.items():
        typer.echo(
            f"{category}: {one.misses} of {one.harmful} harmful texts were released; the bound is {one.bound:.4g}, and the"
            f" evidence against it {math.exp(min(one.log_e_value, 700.0)):.3g} of {len(result.categories) / delta:.3g}"
        )
    typer.echo(f"refuted: {', '.join(result.refuted) or 'nothing'}")
    raise typer.Exit(SHUT if result.refuted else 0)


def _settings(config: Path | None) -> DriftSettings:
    from interlock_server.config import load_config

    return load_config(config).drift


def _print_baseline(baseline: BaselineFile, counted: int) -> None:
    table = Table("statistic", "conversations", "1 %", "50 %", "99 %")
    for name, one in sorted(baseline.statistics.items()):
        shown = (f"{one.thresholds[at]:.3g}" for at in (0, len(one.thresholds) // 2, -1))
        table.add_row(name, str(one.items), *shown)
    Console().print(table)
    typer.echo(f"{counted} conversations of {baseline.callers} callers, {baseline.withheld_share:.2%} of them withheld")
    typer.echo(f"{baseline.digest}")


def _ns(time: datetime | None, otherwise: int) -> int:
    return otherwise if time is None else int(time.replace(tzinfo=UTC).timestamp()) * 10**9


def _check_json(path: Path, option: str) -> None:
    if path.suffix != ".json":
        raise ConfigError(f"{option}: must end in .json")
