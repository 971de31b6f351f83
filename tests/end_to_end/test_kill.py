"""A server that is killed under load, fifty times: no verdict was answered whose record is not in the log."""

import asyncio
import multiprocessing
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import pytest
from fakes import BENIGN, write_bundle
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_server.app import serve
from interlock_server.audit.verify import verify
from interlock_server.config import Config
from interlock_server.strict import validate

from .server import PATIENT_S, request
from .test_audit import verdicts

KILLS = 50
CALLERS = 4
ANSWERS = 8


def run(config: Config, port: Connection) -> None:
    """In a process of its own: serves until it is killed, and says where."""
    asyncio.run(serve(config, lambda grpc_port, http_port: port.send(grpc_port)))


class Callers:
    """They ask until nobody answers any more, and remember what they were answered."""

    def __init__(self, port: int) -> None:
        self.answered: list[str] = []
        self._enough = threading.Semaphore(0)
        self._port = port
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def wait(self, answers: int) -> None:
        """Until there are that many."""
        for _ in range(answers):
            assert self._enough.acquire(timeout=PATIENT_S)

    def join(self) -> list[str]:
        """Everything, when the server is dead."""
        for thread in self._threads:
            thread.join()
        return self.answered

    def _ask(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options) as channel:
            stub = pb_grpc.SafetyFilterServiceStub(channel)
            try:
                while True:
                    response: pb.ScreenResponse = stub.Screen(request(BENIGN), timeout=PATIENT_S)
                    self.answered.append(response.verdict.verdict_id)
                    self._enough.release()
            except grpc.RpcError:
                return


@pytest.mark.timeout(300)
def test_no_answered_verdict_is_lost(tmp_path: Path):
    """Each server goes on behind the one that was killed; in the end the chain is whole."""
    digest = write_bundle(tmp_path / "bundle", latency_budget_ms=20_000)
    settings = {
        "audit": {"folder": str(tmp_path / "log"), "mode": "required"},
        "bundle": {"path": str(tmp_path / "bundle"), "digest": digest},
        "transport": {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0"},
    }
    config = validate(Config, settings, "test")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["interlock_server.app", "interlock_server.backends.scripted"])
    answered: list[str] = []
    for _ in range(KILLS):
        ours, theirs = context.Pipe(duplex=False)
        server = context.Process(target=run, args=(config, theirs))
        server.start()
        assert ours.poll(PATIENT_S)
        callers = Callers(ours.recv())
        callers.wait(ANSWERS)
        server.kill()
        server.join()
        answered += callers.join()
    found = {record.verdict_id for record in verdicts(tmp_path / "log")}

    assert KILLS * ANSWERS <= len(answered)
    assert set() == set(answered) - found
    assert () == verify(tmp_path / "log").problems
