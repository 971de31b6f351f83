"""A real server in a process of its own, over scripted members, driven through raw gRPC stubs."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import yaml
from fakes import BENIGN, manifest_content, member, script, write_bundle
from grpc_health.v1 import health_pb2_grpc
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_server.bundle.seal import seal
from prometheus_client.parser import text_string_to_metric_families

PATIENT_S = 60.0  # never waited for in full; a busy machine is slow
MEMBERS = ("alpha", "beta", "gamma")
SETTINGS = {
    "lanes": 2,
    "reply_reserve_ms": 300,  # a busy machine sends slowly
    "hang_grace_ms": 50,
    "breaker_open_ms": 50,
    "lanes_lost_max": 1_000,
}


class Server:
    """Starts on construction; `wait_ready` before use, `stop` after. Ports are free ones unless `address` says."""

    def __init__(
        self,
        path: Path,
        members: list[dict[str, Any]] | None = None,
        address: str = "127.0.0.1:0",
        inference: dict[str, Any] | None = None,
        transport: dict[str, Any] | None = None,
        scripts: dict[str, dict[str, Any]] | None = None,
        audit: dict[str, Any] | None = None,
        shadow_policies: dict[str, dict[str, Any]] | None = None,
        file_size_max: int | None = None,
        bundle: dict[str, Any] | None = None,
        drift: dict[str, Any] | None = None,
        reload: dict[str, Any] | None = None,
        tracing: dict[str, Any] | None = None,
        access: dict[str, Any] | None = None,
        triton: dict[str, Any] | None = None,
        **policy: Any,
    ) -> None:
        self.bundle = path / "bundle"
        digest = write_bundle(self.bundle, members, **{"latency_budget_ms": 20_000, **policy})
        if scripts:
            digest = _sealed_with(self.bundle, scripts)
        shadows = {name: self._policy(path, name, content) for name, content in (shadow_policies or {}).items()}
        config = {
            "audit": audit or {},
            "drift": drift or {},
            "reload": reload or {},
            "tracing": tracing or {},
            "triton": triton or {},
            "access": access or {},
            "bundle": {"path": str(self.bundle), "digest": digest, "shadow_policies": shadows, **(bundle or {})},
            "inference": {**SETTINGS, **(inference or {})},
            "transport": {"address": address, "http_address": "127.0.0.1:0", **(transport or {})},
            "log_level": "debug",
        }
        self.config = path / "interlock.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self._stderr = path / "stderr.txt"
        self.process = launch(self.config, self._stderr, file_size_max)
        self._channel: grpc.Channel | None = None

    @staticmethod
    def _policy(path: Path, name: str, content: dict[str, Any]) -> str:
        file = path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        return str(file)

    def wait_ready(self) -> "Server":
        """Connects once the server says which ports it has."""
        self.eventually(lambda: self.events("ready") or self.process.poll() is not None)
        assert self.events("ready"), self.log
        ready = self.events("ready")[0]
        self.target, self.http = f"127.0.0.1:{ready['port']}", f"http://127.0.0.1:{ready['http_port']}"
        self.connect(self.target)
        return self

    def connect(self, target: str) -> None:
        """Makes the stubs."""
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = self._channel = grpc.insecure_channel(target, options=options)
        self.stub = pb_grpc.SafetyFilterServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    @property
    def log(self) -> str:
        """Everything on stderr so far."""
        return self._stderr.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        lines = [line for line in self.log.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def screen(self, completion: str | bytes = BENIGN, timeout_s: float = PATIENT_S, **asked: Any) -> pb.Verdict:
        """One verdict."""
        response: pb.ScreenResponse = self.stub.Screen(request(completion, **asked), timeout=timeout_s)
        return response.verdict

    def screen_later(self, completion: str | bytes = BENIGN, timeout_s: float = PATIENT_S) -> "Future[Any]":
        """A call under way."""
        call: Future[Any] = self.stub.Screen.future(request(completion), timeout=timeout_s)
        return call

    def released(self, completion: str | bytes = BENIGN, timeout_s: float = PATIENT_S) -> bool:
        """Whether it was."""
        return bool(self.screen(completion, timeout_s).decision == pb.DECISION_RELEASE)

    def script(self, name: str, **changes: Any) -> None:
        """Makes a member misbehave, or behave again."""
        script(self.bundle, name, **changes)

    def heal(self) -> None:
        """Every member behaves, and what is benign is released again."""
        for name in MEMBERS:
            self.script(name)
        self.eventually(lambda: self.released())

    def get(self, path: str) -> tuple[int, str]:
        """Status and body over HTTP."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=PATIENT_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 while there is none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def terminate(self) -> None:
        """Asks it to drain and end."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ends it, whatever state it is in; returns its exit code."""
        if self._channel is not None:
            self._channel.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(PATIENT_S)
        finally:
            self.process.kill()

    def eventually(self, holds: Callable[[], Any]) -> None:
        """Waits until it does."""
        ends_s = time.monotonic() + PATIENT_S
        while not holds():
            assert time.monotonic() < ends_s, f"it never came true; the log: {self.log}"
            time.sleep(0.02)


def launch(config: Path, stderr: Path, file_size_max: int | None = None) -> "subprocess.Popen[bytes]":
    """`interlock serve`, with this Python; with a limit on files, the disk is full for it sooner than for others."""
    limit = [] if file_size_max is None else ["prlimit", f"--fsize={file_size_max}"]
    command = [*limit, sys.executable, "-m", "interlock_server", "serve", "--config", str(config)]
    with stderr.open("wb") as file:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)


def request(completion: str | bytes = BENIGN, prompt: str | bytes = b"", **asked: Any) -> pb.ScreenRequest:
    """A request for a verdict."""
    return pb.ScreenRequest(exchange=exchange(completion, prompt), **asked)


def exchange(completion: str | bytes = BENIGN, prompt: str | bytes = b"") -> pb.Exchange:
    """An exchange of text or bytes."""
    return pb.Exchange(prompt=_bytes(prompt), completion=_bytes(completion))


def reasons(verdict: pb.Verdict) -> list[str]:
    """The names of the reasons, without their prefix."""
    return [pb.Reason.Name(reason).removeprefix("REASON_") for reason in verdict.reasons]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _sealed_with(bundle: Path, scripts: dict[str, dict[str, Any]]) -> str:
    """The same bundle, sealed over other scripts; returns its digest."""
    for name, changes in scripts.items():
        script(bundle, name, **changes)
    return seal(bundle, manifest_content([member(name) for name in MEMBERS]))


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
