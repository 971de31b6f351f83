"""`interlock health`: an exit code and one word."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from access.certificates import Authority
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from interlock_server.cli import app
from interlock_server.errors import ConfigError
from typer.testing import CliRunner

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def servicer() -> health.HealthServicer:
    return health.HealthServicer()


@pytest.fixture
def address(servicer: health.HealthServicer) -> Iterator[str]:
    with serving(servicer) as address:
        yield address


@contextmanager
def serving(servicer: health.HealthServicer, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    here = "127.0.0.1:0"
    port = server.add_secure_port(here, credentials) if credentials else server.add_insecure_port(here)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(("status", "expected"), [(SERVING, (0, "SERVING\n")), (NOT_SERVING, (1, "NOT_SERVING\n"))])
def test_it_says_what_the_server_says(
    servicer: health.HealthServicer, address: str, status: int, expected: tuple[int, str]
) -> None:
    """And only a server that serves is healthy."""
    servicer.set("", status)

    result = CliRunner().invoke(app, ["health", address])

    assert expected == (result.exit_code, result.stdout)


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    """Nor is one that speaks another language."""
    result = CliRunner().invoke(app, ["health", "127.0.0.1:1"])

    assert (1, "UNAVAILABLE\n") == (result.exit_code, result.stdout)


def test_it_speaks_tls_and_shows_a_certificate(servicer: health.HealthServicer, tmp_path: Path) -> None:
    """To a server that asks for one; without it there is no answer."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.root.read_bytes(), require_client_auth=True)
    servicer.set("", SERVING)
    known = ["--ca", str(authority.root), "--authority", "localhost"]

    with serving(servicer, credentials) as address:
        nobody = CliRunner().invoke(app, ["health", address, *known])
        somebody = CliRunner().invoke(
            app, ["health", address, *known, "--certificate", str(certificate), "--key", str(key)]
        )

    assert (1, "UNAVAILABLE\n") == (nobody.exit_code, nobody.stdout)
    assert (0, "SERVING\n") == (somebody.exit_code, somebody.stdout)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Without a word of what is in it."""
    with pytest.raises(ConfigError, match=r"ca\.pem: cannot be read"):
        CliRunner().invoke(app, ["health", "--ca", str(tmp_path / "ca.pem")], catch_exceptions=False)
