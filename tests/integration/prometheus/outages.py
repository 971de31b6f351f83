"""Services, each a job of Prometheus: most in a trouble of their own, one in none, and that one shows all there is to see."""

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from access.certificates import Authority
from collector import Collector
from end_to_end.server import MEMBERS, PATIENT_S, Server, exchange, free_port
from fakes import CATEGORIES, certificate_content, policy_content, write_bundle
from gated import write_onnx_bundle
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_server.bundle.load import load_bundle
from interlock_server.cli import app
from typer.testing import CliRunner

from .callers import Ask, all_sorts, asking, choose, crowd, screen, screen_all_sorts, write_slowly

WELL, MEMBER, CERTIFICATE, DISK, LOAD, STRANGE, GONE = (
    f"interlock-{name}" for name in ("well", "member", "certificate", "disk", "load", "strange", "gone")
)
BUDGET_MS = 20_000
_BASELINE = 1_000
_BATCH = 200


class Services:
    """All of them, while `stack` is open, started and asked; `targets` is job -> address of its metrics."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        self._stack = stack
        self.targets = {GONE: f"127.0.0.1:{free_port()}"}
        self._servers: dict[str, Server] = {}
        for job, start in _STARTS.items():
            (path / job).mkdir()
            self._servers[job] = server = start(stack, path / job)
            self.targets[job] = server.http.removeprefix("http://")
            for ask in _CALLERS.get(job, [screen]):
                stack.enter_context(asking(server, ask))

    def trouble(self) -> None:
        """From now on what is to happen does; for a full disk and a lost file that was so from the beginning."""
        for job, cause in _TROUBLES.items():
            cause(self._servers[job], self._stack)


def _started(stack: ExitStack, path: Path, **settings: Any) -> Server:
    server = Server(path, **settings)
    stack.callback(server.stop)
    return server.wait_ready()


def _well(stack: ExitStack, path: Path) -> Server:
    """Certified, recorded, traced, compared with what it was, with a cache, a shadow policy and one on trial."""
    state = {"state": str(path / "state.json"), "reread_s": 0.1}
    settings: dict[str, Any] = {
        "audit": {"folder": str(path / "log"), "mode": "required"}, "certified": {}, "profiles": _profiles(),
    }  # fmt: skip
    _attest(path, state, settings)
    collector = Collector()
    stack.callback(collector.stop)
    server = _started(
        stack,
        path,
        drift={**state, "baseline": str(path / "baseline.json")},
        inference={"cache_entries_max": 64},
        shadow_policies={"stricter": policy_content(list(MEMBERS), name="stricter", profiles=_profiles(0.5))},
        bundle={"canary": {"policy": str(path / "stricter.yaml"), "share": 0.2}},
        tracing={"endpoint": collector.endpoint, "insecure": True, "sample_ratio": 1},
        **settings,
    )
    _doubt(server)
    return server


def _attest(path: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Makes a baseline of what the server is going to be asked."""
    (path / "before").mkdir()
    with ExitStack() as stack:
        server = _started(stack, path / "before", drift=state, **settings)
        _doubt(server)
        for first in range(0, _BASELINE, _BATCH):
            exchanges = [exchange(all_sorts(number), f"prompt {number}") for number in range(first, first + _BATCH)]
            server.stub.ScreenBatch(pb.ScreenBatchRequest(exchanges=exchanges), timeout=PATIENT_S)
    for name in MEMBERS:
        server.script(name)  # as the digest of the bundle says
    baseline = ["--out", str(path / "baseline.json"), "--caller-share", "1"]
    for arguments in (["attest", str(path / "log"), "--by", "ann", *baseline], ["clear", "--by", "ann"]):
        done = CliRunner().invoke(app, ["drift", *arguments, "--config", str(server.config)])
        assert done.exception is None, done.exception


def _profiles(balanced: float = 2.0, strict: float = 0.5) -> dict[str, Any]:
    """By what they release."""
    rule = policy_content(list(MEMBERS))["profiles"]["balanced"]["categories"][CATEGORIES[0]]
    dials = {"balanced": balanced, "strict": strict}
    return {
        name: {"categories": {key: {**rule, "release_below": dial} for key in CATEGORIES}}
        for name, dial in dials.items()
    }


def _doubt(server: Server) -> None:
    """Members doubt a little, one more than the others."""
    for name in MEMBERS:
        objected = 0.4 if name == "alpha" else 0.02
        server.script(name, phrases={"stabbed": 0.99, "murmured": 0.15, "objected": objected})


def _plain(stack: ExitStack, path: Path) -> Server:
    return _started(stack, path, latency_budget_ms=10_000)


def _lose_member(server: Server, stack: ExitStack) -> None:
    """It crashes."""
    server.script("beta", mode="crash")


def _overload(server: Server, stack: ExitStack) -> None:
    """A member is slow, and more is asked than can be done."""
    server.script("alpha", mode="slow", seconds=0.2)
    for _ in range(4):
        stack.enter_context(asking(server, crowd))
    stack.callback(server.script, "alpha")  # in the end, so that nobody has to wait for those who still do


def _certified(stack: ExitStack, path: Path) -> Server:
    """With a certificate in a file of its own."""
    file = path / "certificate.json"
    write_bundle(path / "bundle", latency_budget_ms=BUDGET_MS)  # as the server's is going to be
    file.write_text(json.dumps(certificate_content(load_bundle(path / "bundle"))))
    return _started(stack, path, latency_budget_ms=BUDGET_MS, bundle={"certificate": str(file)})


def _lapse(server: Server, stack: ExitStack) -> None:
    """The certificate is replaced by one that has lapsed, the configuration by a bad one, and a member objects to everything."""
    today = datetime.now(UTC).date()
    lapsed = {"issued": str(today - timedelta(days=100)), "expires": str(today)}
    content = certificate_content(load_bundle(server.bundle), **lapsed)
    server.config.with_name("certificate.json").write_text(json.dumps(content))
    _reload(server, "reloaded")
    server.config.write_text("nothing: of this kind")
    _reload(server, "reload_refused")
    server.script("alpha", default=0.5)


def _reload(server: Server, outcome: str) -> None:
    server.process.send_signal(signal.SIGHUP)
    server.eventually(lambda: server.events(outcome))


def _disk(stack: ExitStack, path: Path) -> Server:
    """Its disk is full, soon."""
    return _started(stack, path, audit={"folder": str(path / "log")}, file_size_max=24_576)


def _strange(stack: ExitStack, path: Path) -> Server:
    """It has TLS, a gate for the unknown, and lost the file that says whether traffic is as it should be."""
    bundle = write_onnx_bundle(path / "gated")
    authority = Authority(path)
    certificate, key = authority.issue()
    server = _started(
        stack,
        path,
        bundle={"path": str(path / "gated"), "digest": bundle.digest},
        drift={"state": str(path / "state.json"), "action": "withhold"},
        transport={"tls": {"certificate_file": str(certificate), "key_file": str(key)}},
    )
    port = server.target.rpartition(":")[2]
    channel = grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority.root.read_bytes()))
    stack.callback(channel.close)
    server.stub = pb_grpc.SafetyFilterServiceStub(channel)
    return server


_STARTS: Mapping[str, Callable[[ExitStack, Path], Server]] = {
    WELL: _well, MEMBER: _plain, CERTIFICATE: _certified, DISK: _disk, LOAD: _plain, STRANGE: _strange,
}  # fmt: skip
_CALLERS: Mapping[str, list[Ask]] = {WELL: [screen_all_sorts, write_slowly, choose]}
_TROUBLES = {MEMBER: _lose_member, CERTIFICATE: _lapse, LOAD: _overload}
