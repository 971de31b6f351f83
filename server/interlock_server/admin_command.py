"""`interlock admin`: see what a running server has in force, and put something else in force without a restart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import grpc
import typer
from interlock.admin.v1 import admin_pb2 as pb
from interlock.admin.v1 import admin_pb2_grpc as pb_grpc
from interlock.v1 import safety_filter_pb2

from interlock_server.errors import ConfigError, InterlockError

REFUSED = 1
_PATIENCE_S = 600.0  # loading models may take minutes, and waiting for old calls to end too

admin_app = typer.Typer(no_args_is_help=True)


class _Connection(NamedTuple):
    """How to reach the admin port."""

    address: str
    token_file: Path | None
    ca: Path | None
    certificate: Path | None
    key: Path | None

    @contextmanager
    def open(self) -> Iterator[pb_grpc.AdminServiceStub]:
        """The server's admin service; what it answers instead is an InterlockError."""
        with self._channel() as channel:
            try:
                yield pb_grpc.AdminServiceStub(channel)
            except grpc.RpcError as error:
                raise InterlockError(f"{self.address}: {error.code().name}: {error.details()}") from error

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Who asks."""
        token = _read(self.token_file)
        return () if token is None else (("authorization", f"Bearer {token.decode('ascii', 'replace').strip()}"),)

    def _channel(self) -> grpc.Channel:
        if self.ca is None:
            return grpc.insecure_channel(self.address)
        credentials = grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))
        return grpc.secure_channel(self.address, credentials)


@admin_app.callback()
def connect(
    context: typer.Context,
    address: Annotated[str, typer.Option(help="HOST:PORT, the server's transport.admin_address.")] = "127.0.0.1:50053",
    token_file: Annotated[Path | None, typer.Option(help="Holds the token of a caller with the scope `admin`.")] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Who signed the server's certificate (PEM); without it, no TLS.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Our own certificate, where the server wants one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
) -> None:
    """Operate a running server over its admin port."""
    context.obj = _Connection(address, token_file, ca, certificate, key)


@admin_app.command()
def reload(context: typer.Context) -> None:
    """Read configuration, bundle, policies and certificates again (exit code 1 when they are refused)."""
    _say(_call(context, "Reload", pb.ReloadRequest()).outcome)


@admin_app.command()
def promote(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Also when it has seen too few verdicts.")] = False,
) -> None:
    """Put the policy on trial in force (exit code 1 when that is refused)."""
    _say(_call(context, "PromoteCanary", pb.PromoteCanaryRequest(force=force)).outcome)


@admin_app.command()
def abort(context: typer.Context) -> None:
    """End the trial of a policy (exit code 1 when there is none)."""
    _say(_call(context, "AbortCanary", pb.AbortCanaryRequest()).outcome)


@admin_app.command()
def status(context: typer.Context) -> None:
    """Print what is in force, and what became of the last change."""
    found = _call(context, "GetStatus", pb.GetStatusRequest())
    typer.echo(f"bundle      {found.digests.bundle}")
    typer.echo(f"policy      {found.digests.policy}")
    typer.echo(f"certificate {_state(found.certificate_state)}")
    if found.HasField("canary"):
        _say_canary(found.canary)
    typer.echo(f"generations {found.generations}{', reloading' if found.reloading else ''}")
    last = found.last_reload
    word = "done" if last.successful else "REFUSED"
    typer.echo(f"last change {word}: {last.cause}, {last.time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")
    for line in _lines(last):
        typer.echo(f"  {line}")


def _call(context: typer.Context, rpc: str, request: Any) -> Any:
    connection: _Connection = context.obj
    with connection.open() as stub:
        return getattr(stub, rpc)(request, timeout=_PATIENCE_S, metadata=connection.metadata)


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _say(outcome: pb.Outcome) -> None:
    typer.echo("done" if outcome.successful else "refused; what was in force still is")
    for line in _lines(outcome):
        typer.echo(f"  {line}")
    if not outcome.successful:
        raise typer.Exit(REFUSED)


def _lines(outcome: pb.Outcome) -> Iterator[str]:
    yield from outcome.error.splitlines()
    yield from outcome.notes
    if outcome.restart_needed:
        yield f"only a restart puts in force: {', '.join(outcome.restart_needed)}"


def _say_canary(canary: pb.CanaryStatus) -> None:
    seen = canary.agreed + canary.enforced + canary.stricter + canary.looser
    typer.echo(f"canary      {canary.policy} ({canary.name}), for {canary.share:.1%} of the conversations")
    typer.echo(f"  certificate {_state(canary.certificate_state)}")
    typer.echo(f"  {seen} verdicts (promotion needs {canary.verdicts_min}): {canary.agreed} agreed,")
    typer.echo(f"  {canary.enforced} withheld by it alone, {canary.stricter} more it would have withheld,")
    typer.echo(f"  {canary.looser} it would have released, and did not")


def _state(number: int) -> str:
    names = safety_filter_pb2.CertificateState
    return names.Name(names.ValueType(number)).removeprefix("CERTIFICATE_STATE_")
