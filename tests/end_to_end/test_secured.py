"""The whole service with everything locked: certificates on both sides, callers, and an admin port."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from access.certificates import Authority
from access.edge import TOKEN, caller, write_callers
from fakes import BENIGN, HARMFUL
from interlock.admin.v1 import admin_pb2, admin_pb2_grpc
from interlock_client import SafetyFilter, Tls

from .conftest import StartServer
from .server import PATIENT_S, Server

OPERATOR = "ilk_the-token-of-the-operator"
CALLERS = [caller(fallback_texts={"default": "I cannot say that."}), caller("operator", OPERATOR, scopes=["admin"])]


class Locked:
    """Such a server, and what is needed to be let in."""

    def __init__(self, folder: Path, start_server: StartServer) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        certificate, key = self.authority.issue()
        tls = {"certificate_file": str(certificate), "key_file": str(key), "client_ca_file": str(self.authority.root)}
        self.server: Server = start_server(
            transport={"tls": tls, "admin_address": "127.0.0.1:0"},
            access={"file": str(write_callers(folder, CALLERS))},
        )
        shown, shown_key = self.authority.issue("somebody", file="caller")
        self.tls = Tls(root=self.authority.root, certificate=shown, key=shown_key)
        token = folder / "token"
        token.write_text(TOKEN)
        self.client = SafetyFilter(
            targets=self.server.target, authority="localhost", timeout_s=PATIENT_S, tls=self.tls, token_file=token
        )

    def reload(self, token: str) -> grpc.StatusCode:
        """How a call to the admin port ends."""
        target = f"127.0.0.1:{self.server.events('ready')[0]['admin_port']}"
        options = [("grpc.default_authority", "localhost")]
        with grpc.secure_channel(target, self.tls.credentials(), options) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            metadata = [("authorization", f"Bearer {token}")]
            try:
                stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=PATIENT_S, metadata=metadata)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
                return code
        return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """One for all tests."""
    started: list[Server] = []

    def start(**settings: object) -> Server:
        started.append(Server(tmp_path_factory.mktemp("locked"), **settings))  # type: ignore[arg-type]
        return started[0].wait_ready()

    locked = Locked(tmp_path_factory.mktemp("files"), start)
    yield locked
    locked.client.close()
    started[0].stop()


def test_a_caller_with_certificate_and_token_is_served(locked: Locked):
    """As without all that: one text is released, another is not, and words are given for it."""
    fine, harmful = locked.client.screen(completion=BENIGN), locked.client.screen(completion=HARMFUL)

    assert (True, False, "I cannot say that.") == (fine.released, harmful.released, harmful.fallback_text)


def test_the_admin_port_is_for_operators(locked: Locked):
    """And for nobody else."""
    codes = [locked.reload(token) for token in (OPERATOR, TOKEN, "ilk_another")]

    assert [grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED] == codes


def test_no_token_is_in_the_log_or_in_the_metrics(locked: Locked):
    """Whoever reads those is nobody's caller."""
    locked.client.screen(completion=BENIGN)
    locked.reload(OPERATOR)
    seen = locked.server.log + locked.server.get("/metrics")[1]

    assert [] == [token for token in (TOKEN, OPERATOR) if token in seen]


def test_files_that_change_are_taken_while_it_runs(locked: Locked):
    """Bad ones are refused, which the metrics say; then a caller is gone."""
    write_callers(locked.folder, [{"name": "nobody"}])
    locked.server.eventually(lambda: not locked.server.metric("interlock_watched_file_healthy", file="access"))
    before = locked.client.screen(completion=BENIGN).released
    write_callers(locked.folder, CALLERS[1:])
    locked.server.eventually(lambda: locked.server.metric("interlock_watched_file_healthy", file="access"))

    assert (True, False) == (before, locked.client.screen(completion=BENIGN).released)
