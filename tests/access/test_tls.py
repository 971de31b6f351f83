"""TLS over a real server: who is trusted on either side, and certificates that change while it runs."""

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from fakes import BENIGN
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_client import AsyncSafetyFilter, SafetyFilter, SettingsError, Tls
from interlock_server.access.watched import Watched
from interlock_server.metrics import Metrics
from interlock_server.transport.http import HttpServer
from interlock_server.transport.settings import TlsSettings
from interlock_server.transport.tls import Material
from interlock_server.transport.tls import Tls as ServerTls

from .certificates import Authority
from .edge import PATIENT_S, TOKEN, Edge, caller

Secured = Callable[..., Edge]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that signs the server's certificate, and callers'."""
    return Authority(tmp_path)


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Secured:
    """A server over TLS; with `mutual`, callers show certificates too."""

    def secured(mutual: bool = False, callers: list[dict[str, object]] | None = None) -> Edge:
        return Edge(tmp_path, callers, settings(authority, mutual))

    return secured


def settings(authority: Authority, mutual: bool = False) -> TlsSettings:
    """A new certificate, configured."""
    certificate, key = authority.issue()
    ca = str(authority.root) if mutual else None
    return TlsSettings(certificate_file=str(certificate), key_file=str(key), client_ca_file=ca)


async def decision(edge: Edge, *credentials: bytes | None) -> int | grpc.StatusCode:
    """What a caller with these credentials gets, without a token."""
    request = pb.ScreenRequest(exchange=pb.Exchange(completion=BENIGN.encode()))
    async with edge.secure_channel(*credentials) as channel:
        try:
            answer = await pb_grpc.SafetyFilterServiceStub(channel).Screen(request, timeout=PATIENT_S)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return int(answer.verdict.decision)


async def test_a_caller_who_trusts_the_authority_is_answered(secured: Secured, authority: Authority):
    """And one who does not hangs up."""
    other = Authority(authority.root.parent, "other")
    async with secured() as edge:
        answers = [await decision(edge, authority.root.read_bytes()), await decision(edge, other.root.read_bytes())]

    assert [pb.DECISION_RELEASE, grpc.StatusCode.UNAVAILABLE] == answers


async def test_plaintext_is_not_spoken(secured: Secured):
    """On the port of TLS."""
    async with secured() as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.screen()

    assert grpc.StatusCode.UNAVAILABLE == caught.value.code()


async def test_callers_must_show_a_certificate_of_the_authority(secured: Secured, authority: Authority):
    """None, and one of another authority, do not get to a call."""
    root = authority.root.read_bytes()
    own = authority.issue("generator", file="caller")
    foreign = Authority(authority.root.parent, "other").issue("generator", file="foreign")
    async with secured(mutual=True) as edge:
        answers = [
            await decision(edge, root),
            await decision(edge, root, foreign[1].read_bytes(), foreign[0].read_bytes()),
            await decision(edge, root, own[1].read_bytes(), own[0].read_bytes()),
        ]

    assert [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, pb.DECISION_RELEASE] == answers


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("generator", pb.DECISION_RELEASE),
        ("spiffe://test/generator", pb.DECISION_RELEASE),
        ("generat", grpc.StatusCode.UNAUTHENTICATED),
        ("authority", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_a_certificate_says_who_calls(secured: Secured, authority: Authority, subject: str, answer: object):
    """By any of its names, whole."""
    certificate, key = authority.issue("generator", file="caller")
    known = {"name": "generator", "subjects": [subject], "scopes": ["screen"]}
    async with secured(mutual=True, callers=[known]) as edge:
        given = await decision(edge, authority.root.read_bytes(), key.read_bytes(), certificate.read_bytes())

    assert answer == given


async def test_a_wrong_token_is_not_mended_by_a_certificate(secured: Secured, authority: Authority):
    """Whoever brings one says who he is by it."""
    certificate, key = authority.issue("generator", file="caller")
    known = {"name": "generator", "subjects": ["generator"], "scopes": ["screen"]}
    async with secured(mutual=True, callers=[known]) as edge:
        shown = authority.root.read_bytes(), key.read_bytes(), certificate.read_bytes()
        async with edge.secure_channel(*shown) as channel:
            call = pb_grpc.SafetyFilterServiceStub(channel).GetEnsemble
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(pb.GetEnsembleRequest(), metadata=[("authorization", "Bearer ilk_x")], timeout=PATIENT_S)

    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()


async def test_a_new_certificate_is_used_without_a_restart(secured: Secured, authority: Authority):
    """By connections that come after it; those from before stay."""
    before = authority.root.read_bytes()
    async with secured() as edge:
        async with edge.secure_channel(before) as old:
            stub = pb_grpc.SafetyFilterServiceStub(old)
            await stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)
            other = Authority(authority.root.parent, "other")
            other.issue()
            watched(edge).look()
            await stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)
        answers = [await decision(edge, before), await decision(edge, other.root.read_bytes())]

    assert [grpc.StatusCode.UNAVAILABLE, pb.DECISION_RELEASE] == answers


async def test_a_broken_certificate_leaves_the_last_good_one(secured: Secured, authority: Authority):
    """And a metric says so, until it is mended."""
    async with secured() as edge:
        (authority.root.parent / "server.pem").write_text("not a certificate")
        watched(edge).look()
        broken = await decision(edge, authority.root.read_bytes()), edge.counted(*HEALTHY, file="tls")
        authority.issue()
        watched(edge).look()
        mended = await decision(edge, authority.root.read_bytes()), edge.counted(*HEALTHY, file="tls")

    assert ((pb.DECISION_RELEASE, 0), (pb.DECISION_RELEASE, 1)) == (broken, mended)


HEALTHY = ("interlock_watched_file_healthy",)


def watched(edge: Edge) -> Watched[Material]:
    assert edge.tls is not None
    return edge.tls.watched


async def test_it_is_told_when_the_certificate_ends(secured: Secured):
    """In a gauge, for an alert."""
    async with secured() as edge:
        assert edge.counted("interlock_tls_certificate_expires_timestamp_seconds") > 1.7e9


async def test_both_clients_speak_tls_and_bring_their_token(secured: Secured, authority: Authority, tmp_path: Path):
    """All of it from files."""
    certificate, key = authority.issue("somebody", file="caller")
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    async with secured(mutual=True, callers=[caller()]) as edge:
        given = {
            "targets": f"127.0.0.1:{edge.server.port}",
            "authority": "localhost",
            "timeout_s": PATIENT_S,
            "token_file": token,
            "tls": Tls(root=authority.root, certificate=certificate, key=key),
        }
        async with AsyncSafetyFilter(**given) as client:  # type: ignore[arg-type]
            verdicts = [await client.screen(completion=BENIGN)]
        with SafetyFilter(**given) as client:  # type: ignore[arg-type]
            verdicts.append(await asyncio.to_thread(client.screen, completion=BENIGN))
            token.write_text("ilk_another")
            verdicts.append(await asyncio.to_thread(client.screen, completion=BENIGN))
            token.unlink()
            verdicts.append(await asyncio.to_thread(client.screen, completion=BENIGN))

    assert [True, True, False, False] == [verdict.released for verdict in verdicts]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"targets": "filter.example:50051", "token_file": "token"}, "give tls too"),
        ({"token_file": "gone"}, "gone: cannot be read"),
        ({"token_file": "empty"}, "holds no token"),
    ],
)
def test_a_client_that_would_leak_its_token_or_has_none_is_refused(tmp_path: Path, given: dict[str, str], message: str):
    """On construction."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "empty").write_text("\n")
    given = {"targets": "127.0.0.1:1", **given, "token_file": str(tmp_path / given["token_file"])}

    with pytest.raises(SettingsError, match=message):
        SafetyFilter(**given)  # type: ignore[arg-type]


def test_half_of_a_client_certificate_is_refused():
    """It could not be shown."""
    with pytest.raises(SettingsError, match="go together"):
        Tls(certificate="certificate.pem")


def fetch(port: int, root: Path | None, path: str = "/healthz") -> int:
    """The status of a page, over TLS if there is a root."""
    context = ssl.create_default_context(cafile=str(root)) if root else None
    scheme = "https" if root else "http"
    with urllib.request.urlopen(f"{scheme}://localhost:{port}{path}", timeout=PATIENT_S, context=context) as page:
        return int(page.status)


def test_metrics_beyond_loopback_are_served_over_tls(authority: Authority):
    """With a certificate that may change; plain HTTP gets nothing there."""
    metrics = Metrics()
    tls = ServerTls(settings(authority), metrics)
    server = HttpServer("0.0.0.0:0", metrics, lambda: True, tls)
    try:
        assert 200 == fetch(server.port, authority.root, "/metrics")
        with pytest.raises((urllib.error.URLError, OSError)):
            fetch(server.port, None)
        other = Authority(authority.root.parent, "other")
        other.issue()
        tls.watched.look()
        assert 200 == fetch(server.port, other.root)
    finally:
        server.close()


def test_metrics_on_loopback_stay_plain(authority: Authority):
    """Nobody else can read them."""
    metrics = Metrics()
    server = HttpServer("127.0.0.1:0", metrics, lambda: True, ServerTls(settings(authority), metrics))
    try:
        assert 200 == fetch(server.port, None)
    finally:
        server.close()


def test_a_caller_who_never_shakes_hands_blinds_nobody(authority: Authority):
    """The handshake waits in a thread of its own."""
    import socket

    metrics = Metrics()
    server = HttpServer("0.0.0.0:0", metrics, lambda: True, ServerTls(settings(authority), metrics))
    try:
        with socket.create_connection(("127.0.0.1", server.port)):
            assert 200 == fetch(server.port, authority.root)
    finally:
        server.close()
