"""The `interlock` command. Offline commands join through the entry-point group `interlock.commands`."""

import asyncio
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock_server import __version__
from interlock_server.admin_command import admin_app
from interlock_server.audit_command import audit_app
from interlock_server.drift_command import drift_app
from interlock_server.errors import ConfigError, InterlockError
from interlock_server.export_triton_command import export_triton
from interlock_server.health_command import health
from interlock_server.screen_command import screen
from interlock_server.token_command import token_app

if TYPE_CHECKING:
    from interlock_server.bundle.load import Bundle

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file (YAML).")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
bundle_app = typer.Typer(no_args_is_help=True, help="Work with bundles of models.")
app.add_typer(bundle_app, name="bundle")
app.add_typer(admin_app, name="admin")
app.add_typer(audit_app, name="audit")
app.add_typer(drift_app, name="drift")
app.add_typer(token_app, name="token")
app.command()(screen)
app.command()(health)
bundle_app.command()(export_triton)

ERROR = 1


@app.command()
def serve(
    config: ConfigOption = None,
    address: Annotated[str | None, typer.Option(help="HOST:PORT for gRPC instead of the configured one.")] = None,
    http_address: Annotated[str | None, typer.Option(help="HOST:PORT for /metrics and /healthz.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without TLS.")] = False,
) -> None:
    """Serve verdicts over gRPC until SIGTERM, which drains."""
    import uvloop

    from interlock_server.app import serve as serve_until_stopped
    from interlock_server.config import ConfigSource
    from interlock_server.log import configure

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    options = {"address": address, "http_address": http_address, "insecure": insecure or None}
    source = ConfigSource(config, {key: value for key, value in options.items() if value is not None})
    settings = source.read()
    configure(settings.log_level)
    sys.setswitchinterval(0.0005)
    uvloop.run(serve_until_stopped(settings, source=source))


@app.command()
def check_config(config: ConfigOption = None) -> None:
    """Check the configuration, the bundle and all policies, without loading a model."""
    from interlock_server.config import load_config
    from interlock_server.reload.opening import open_files

    opened = open_files(load_config(config).bundle, None)
    loaded = opened.bundle
    policy = loaded.policy
    typer.echo(f"bundle   {loaded.manifest.name} {loaded.digest}")
    typer.echo(f"policy   {policy.name} {policy.digest}")
    typer.echo(f"profiles {', '.join(sorted(policy.profiles))} (default {policy.default_profile})")
    typer.echo(f"members  {', '.join(policy.members)}")
    for name, shadow in opened.shadows.items():
        typer.echo(f"shadow   {name} {shadow.digest}")
    if opened.canary is not None:
        typer.echo(f"canary   {opened.canary.policy.name} {opened.canary.policy.digest}")
    _say_certificate(loaded)


def _say_certificate(loaded: "Bundle") -> None:
    """How it stands, and what it bounds under every profile."""
    from interlock_server.app import certification

    certified = certification(loaded)
    typer.echo(f"certificate {certified.state()}")
    for words in sorted({certified.in_words(profile) for profile in loaded.policy.profiles}):
        typer.echo(f"  {words}")


@bundle_app.command()
def verify(
    path: Annotated[Path | None, typer.Argument(help="The bundle's folder; the one that ships by default.")] = None,
    digest: Annotated[str | None, typer.Option(help="The digest that it must have, sha256:...")] = None,
    run: Annotated[bool, typer.Option(help="Also load every model and score the golden exchanges.")] = True,
) -> None:
    """Verify the digest of every file of a bundle, and that its models reproduce the golden exchanges."""
    from interlock_server.app import checked_members
    from interlock_server.bundle.load import load_bundle
    from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
    from interlock_server.config import load_config

    expected = digest or (DEFAULT_BUNDLE_DIGEST if path is None else None)
    loaded = load_bundle(path or DEFAULT_BUNDLE, expected)
    if run:
        asyncio.run(checked_members(loaded, load_config().triton))
    typer.echo(f"{loaded.digest}  {loaded.manifest.name}")
    _say_certificate(loaded)
    if expected is None:
        typer.echo(
            "pin this digest in your configuration: what a bundle says of itself authenticates nothing", err=True
        )


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"interlock {__version__}")


def main() -> None:
    """Runs the command line; what the operator can mend is a line on stderr and exit code 1."""
    try:
        for entry in entry_points(group="interlock.commands"):
            words = entry.name.split(".")  # bundle.add-member is `interlock bundle add-member`
            _join(entry, words, invoked=words == sys.argv[1 : 1 + len(words)])
        app()
    except InterlockError as error:
        typer.echo(f"interlock: {error}", err=True)
        sys.exit(ERROR)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


def _group(name: str) -> typer.Typer:
    """The group of commands with that name, which its first command founds."""
    for group in app.registered_groups:
        if group.name == name and group.typer_instance:
            return group.typer_instance
    founded = typer.Typer(no_args_is_help=True, help="Offline; needs the extra lab.")
    app.add_typer(founded, name=name)
    return founded


def _join(entry: EntryPoint, words: list[str], invoked: bool) -> None:
    """Adds an offline command. It is imported only when it is called: the lab brings heavy libraries."""
    *group, name = words
    command = (_group(group[0]) if group else app).command
    if not invoked:
        command(name, help="Offline; needs the extra lab, and train also torch.")(lambda: None)
        return
    try:
        command(name)(entry.load())
    except ImportError as error:
        raise ConfigError(f"{entry.name}: needs interlock[lab,torch]; {error.name} is not installed") from error
