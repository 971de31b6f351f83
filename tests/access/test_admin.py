"""The port of administrators: whoever screens cannot roll out, and the other way round."""

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from interlock_server.access.access import Access
from interlock_server.access.settings import AccessSettings
from interlock_server.config import load_config
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.transport.admin import AdminServer
from interlock_server.transport.settings import TransportSettings

from .edge import PATIENT_S, TOKEN, caller, write_callers

OPERATOR = "ilk_the-token-of-the-operator"
RELOAD = "/interlock.admin.v1.AdminService/Reload"


async def _reload(request: bytes, context: Any) -> bytes:
    return b"reloaded"


def add_reload(server: grpc.aio.Server) -> None:
    """A service of one RPC."""
    handlers = {"Reload": grpc.unary_unary_rpc_method_handler(_reload)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("interlock.admin.v1.AdminService", handlers),)
    )


Call = Callable[..., Any]


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Call]:
    """Calls an admin server with a token."""
    callers = [caller(), caller("operator", OPERATOR, scopes=["admin"])]
    access = Access(AccessSettings(file=str(write_callers(tmp_path, callers))), Metrics())
    server = AdminServer(TransportSettings(admin_address="127.0.0.1:0"), add_reload, access)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:

        async def call(token: str | None) -> Any:
            metadata = [("authorization", f"Bearer {token}")] if token else []
            try:
                return await channel.unary_unary(RELOAD)(b"", timeout=PATIENT_S, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error.code()

        yield call
    await server.stop()


async def test_an_administrator_is_let_in_and_logged(call: Call, caplog: pytest.LogCaptureFixture):
    """By name, without the token."""
    with caplog.at_level(logging.INFO, "interlock"):
        assert b"reloaded" == await call(OPERATOR)

    assert [{"rpc": RELOAD, "caller": "operator"}] == [record.fields for record in caplog.records]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (TOKEN, grpc.StatusCode.PERMISSION_DENIED),
        ("ilk_another", grpc.StatusCode.UNAUTHENTICATED),
        (None, grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_nobody_else_is(call: Call, token: str | None, code: grpc.StatusCode):
    """Least of all those who screen."""
    assert code == await call(token)


@pytest.mark.parametrize(
    "settings",
    [
        "transport: {admin_address: '0.0.0.0:1'}",
        "transport: {admin_address: '0.0.0.0:1', insecure: true}",
        "transport: {admin_address: '0.0.0.0:1', insecure: true}\naccess: {file: callers.yaml}",
        "transport: {admin_address: '0.0.0.0:1', tls: {certificate_file: a, key_file: b}}",
    ],
)
def test_beyond_loopback_it_needs_tls_and_callers(tmp_path: Path, settings: str):
    """`insecure` is no way around."""
    path = tmp_path / "interlock.yaml"
    path.write_text(settings)

    with pytest.raises(ConfigError, match="admin_address"):
        load_config(path, {})


@pytest.mark.parametrize(
    "settings",
    [
        "transport: {admin_address: '127.0.0.1:1'}",
        "transport: {admin_address: '0.0.0.0:1', tls: {certificate_file: a, key_file: b}}\naccess: {file: callers.yaml}",
        "transport: {address: '0.0.0.0:1', http_address: '0.0.0.0:2', tls: {certificate_file: a, key_file: b}}",
    ],
)
def test_what_is_safe_is_accepted(tmp_path: Path, settings: str):
    """TLS is as good as `insecure` for the other ports."""
    path = tmp_path / "interlock.yaml"
    path.write_text(settings)

    assert not load_config(path, {}).transport.insecure
