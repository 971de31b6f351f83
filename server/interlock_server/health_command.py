"""`interlock health`: whether a server serves, as an exit code, for whoever can run a program and speak no gRPC."""

from pathlib import Path
from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock_server.errors import ConfigError

HEALTHY, UNHEALTHY = 0, 1
_STATUS = health_pb2.HealthCheckResponse.ServingStatus


def health(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a server.")] = "127.0.0.1:50051",
    ca: Annotated[
        Path | None, typer.Option(help="Who signed the server's certificate (PEM); without it, no TLS.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Our own certificate, where the server wants one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    authority: Annotated[str, typer.Option(help="The name in the server's certificate, where ADDRESS is none.")] = "",
    timeout_s: Annotated[float, typer.Option(help="How long to wait for the answer.")] = 3.0,
) -> None:
    """Ask a server for its health (exit code 0 serving, 1 anything else)."""
    options = [("grpc.default_authority", authority)] if authority else []
    with _channel(address, options, ca, certificate, key) as channel:
        said = _ask(channel, timeout_s)
    typer.echo(said)
    raise typer.Exit(HEALTHY if said == "SERVING" else UNHEALTHY)


def _channel(
    address: str, options: list[tuple[str, str]], ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.Channel:
    if ca is None:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(_read(ca), _read(key), _read(certificate))
    return grpc.secure_channel(address, credentials, options)


def _ask(channel: grpc.Channel, timeout_s: float) -> str:
    """What the server says, or why it says nothing."""
    request = health_pb2.HealthCheckRequest()
    try:
        response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return str(error.code().name)
    return str(_STATUS.Name(response.status))


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from error
