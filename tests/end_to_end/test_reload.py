"""Another policy under a running server: what is in force changes at once, in order, or not at all."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from fakes import BENIGN, policy_content
from interlock.admin.v1 import admin_pb2
from interlock.admin.v1 import admin_pb2_grpc as admin_grpc
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.audit.record import decided
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.policy_file import load_policy
from interlock_server.cli import app
from interlock_server.decision.decide import decide
from typer.testing import CliRunner

from .conftest import StartServer
from .server import MEMBERS, PATIENT_S, Server, exchange, reasons
from .test_audit import verdicts

DOUBTFUL = "They murmured something."
"""What the lenient policy releases and the strict one does not."""
SCRIPTS = {name: {"phrases": {"murmured": 0.15, "stabbed": 0.99}} for name in MEMBERS}
ROUNDS = 25


def dialled(release_below: float, name: str = "test", **changes: Any) -> dict[str, Any]:
    """A policy with one dial."""
    content = policy_content(list(MEMBERS), name=name, latency_budget_ms=20_000, **changes)
    for rule in content["profiles"]["balanced"]["categories"].values():
        rule["release_below"] = release_below
    return content


LENIENT, STRICT = dialled(2.0), dialled(0.5, "strict")


class Operated:
    """A server with an admin port, whose policy is a file of its own."""

    def __init__(self, start: StartServer, path: Path, **settings: Any) -> None:
        self.policy, self.trial = path / "policy.yaml", path / "trial.yaml"
        self.write(LENIENT)
        self.write(STRICT, self.trial)
        bundle = {"policy": str(self.policy), **settings.pop("bundle", {})}
        transport = {"admin_address": "127.0.0.1:0", **settings.pop("transport", {})}
        self.server: Server = start(scripts=SCRIPTS, bundle=bundle, transport=transport, **settings)
        port = self.server.events("ready")[0]["admin_port"]
        self.target = f"127.0.0.1:{port}"
        self.channel = grpc.insecure_channel(self.target)
        self.admin = admin_grpc.AdminServiceStub(self.channel)

    def write(self, content: Any, path: Path | None = None) -> None:
        """Puts a policy in the place of what was there, at once."""
        draft = self.policy.with_suffix(".draft")
        draft.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        draft.replace(path or self.policy)

    def reload(self) -> admin_pb2.Outcome:
        response: admin_pb2.ReloadResponse = self.admin.Reload(admin_pb2.ReloadRequest(), timeout=PATIENT_S)
        return response.outcome

    def status(self) -> admin_pb2.GetStatusResponse:
        response: admin_pb2.GetStatusResponse = self.admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=PATIENT_S)
        return response

    def ensemble(self) -> pb.GetEnsembleResponse:
        response: pb.GetEnsembleResponse = self.server.stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)
        return response

    def digest(self, path: Path) -> str:
        """Of a policy, beside the models of this server."""
        return load_policy(path, load_bundle(self.server.bundle).manifest).digest


Operate = Callable[..., Operated]


@pytest.fixture
def operate(start_server: StartServer, tmp_path: Path) -> Iterator[Operate]:
    """Starts servers that can be operated."""
    started: list[Operated] = []

    def start(**settings: Any) -> Operated:
        started.append(Operated(start_server, tmp_path, **settings))
        return started[-1]

    yield start
    for each in started:
        each.channel.close()


def canary(path: Path, share: float = 1.0, verdicts_min: int = 0) -> dict[str, Any]:
    return {"canary": {"policy": str(path / "trial.yaml"), "share": share, "verdicts_min": verdicts_min}}


def test_a_signal_puts_another_policy_in_force(operate: Operate):
    """And verdicts, the ensemble and the metrics name it."""
    operated = operate()
    server = operated.server
    before = server.screen(DOUBTFUL)
    operated.write(STRICT)
    server.process.send_signal(signal.SIGHUP)
    server.eventually(lambda: server.events("reloaded"))
    after = server.screen(DOUBTFUL)

    strict = operated.digest(operated.policy)
    assert (pb.DECISION_RELEASE, pb.DECISION_WITHHOLD) == (before.decision, after.decision)
    assert strict == after.digests.policy == operated.ensemble().digests.policy != before.digests.policy
    assert 1 == server.metric("interlock_info") == server.metric("interlock_info", policy=strict)
    assert "signal" == operated.status().last_reload.cause


BROKEN = (
    "",
    "format: 1\nname: half",
    yaml.safe_dump(dialled(-50.0)),
    yaml.safe_dump({**STRICT, "unheard_of": "content"}),
)


def test_a_bad_policy_leaves_the_last_good_one_loudly(operate: Operate):
    """In log, metrics and status, without what is in the file; a good one heals all of it."""
    operated = operate()
    server = operated.server
    for content in BROKEN:
        operated.write(content)
        refused = operated.reload()
        assert not refused.successful
        assert "policy.yaml" in refused.error
        assert not any(word in refused.error for word in ("half", "content"))
        assert 0 == server.metric("interlock_config_last_reload_successful")
        assert refused == operated.status().last_reload
        assert server.released(DOUBTFUL)

    assert ["error"] * len(BROKEN) == [event["level"] for event in server.events("reload_refused")]
    operated.write(STRICT)
    assert operated.reload().successful
    assert 1 == server.metric("interlock_config_last_reload_successful")


def test_a_watched_file_is_taken_once_nobody_writes_it_any_more(operate: Operate):
    """Half of a policy is not, and neither is a bad one; what was good stays."""
    watching = operate(reload={"watch_s": 0.05, "settle_s": 0.3})
    server = watching.server
    whole = yaml.safe_dump(STRICT)
    watching.policy.write_text(whole[: len(whole) // 2])
    watching.policy.write_text(whole)
    server.eventually(lambda: not server.released(DOUBTFUL))

    assert [] == server.events("reload_refused")
    watching.policy.write_text(whole[: len(whole) // 2])
    server.eventually(lambda: server.events("reload_refused"))
    assert watching.digest(watching.trial) == server.screen().digests.policy


def test_a_stream_ends_on_the_policy_it_began_with(operate: Operate):
    """While new calls are judged by the new one; then the old one is closed."""
    operated = operate()
    server = operated.server
    more, ended = threading.Event(), threading.Event()

    def parts() -> Iterator[pb.ScreenStreamRequest]:
        yield pb.ScreenStreamRequest(start=pb.ScreenStreamStart(detail=pb.DETAIL_FULL))
        yield pb.ScreenStreamRequest(chunk=f"{BENIGN} {BENIGN} ".encode() * 20)
        more.wait(PATIENT_S)
        yield pb.ScreenStreamRequest(chunk=DOUBTFUL.encode())
        yield pb.ScreenStreamRequest(end=pb.ScreenStreamEnd())
        ended.wait(PATIENT_S)

    answers = server.stub.ScreenStream(parts(), timeout=PATIENT_S)
    first = next(answers)
    operated.write(STRICT)
    operated.reload()
    during = server.screen(DOUBTFUL)
    assert 2 == operated.status().generations
    more.set()
    last = list(answers)[-1].verdict
    ended.set()

    assert first.released_bytes > 0
    assert (pb.DECISION_WITHHOLD, pb.DECISION_RELEASE) == (during.decision, last.decision)
    assert last.digests.policy != during.digests.policy
    server.eventually(lambda: operated.status().generations == 1)


def test_no_answer_is_lost_and_none_is_of_two_policies(operate: Operate, tmp_path: Path):
    """Under load, with a reload after the other: a verdict is what the policy that it names decides, and so is its record."""
    operated = operate(
        audit={"folder": str(tmp_path / "log"), "mode": "required"}, inference={"cache_entries_max": 100}
    )
    server = operated.server
    policies = {operated.digest(path): load_policy(path, load_bundle(server.bundle).manifest)
                for path in (operated.policy, operated.trial)}  # fmt: skip
    strict = operated.digest(operated.trial)
    over = threading.Event()

    def ask(number: int) -> list[pb.Verdict]:
        found = []
        while not over.is_set():
            batch = pb.ScreenBatchRequest(
                exchanges=[exchange(DOUBTFUL, f"{number}"), exchange(BENIGN)], detail=pb.DETAIL_REASONS
            )
            found += [server.screen(DOUBTFUL), *server.stub.ScreenBatch(batch, timeout=PATIENT_S).verdicts]
        return found

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        for number in range(ROUNDS):
            operated.write(STRICT if number % 2 == 0 else LENIENT)
            assert operated.reload().successful
        over.set()
        found = [verdict for each in asking for verdict in each.result()]
    server.stop()

    assert set(policies) == {verdict.digests.policy for verdict in found}
    records = {record.verdict_id: record for record in verdicts(tmp_path / "log")}
    assert len(found) == len(records)
    for verdict in found:
        record = records[verdict.verdict_id]
        policy = policies[verdict.digests.policy]
        assert record.digests.policy == verdict.digests.policy
        assert decided(decide(record.evidence, policy)) == record.decided
        assert record.decided.decision == pb.Decision.Name(verdict.decision).removeprefix("DECISION_")
    doubtful = [verdict for verdict in found if verdict.digests.policy == strict and verdict.reasons]
    assert {("UNCERTAIN",)} == {tuple(reasons(verdict)) for verdict in doubtful}
    assert {pb.DECISION_RELEASE, pb.DECISION_WITHHOLD} == {verdict.decision for verdict in found}


def test_a_canary_withholds_and_never_releases(operate: Operate, tmp_path: Path):
    """What the running policy would have released; the record says what both said, and which one counted."""
    operated = operate(bundle=canary(tmp_path), audit={"folder": str(tmp_path / "log"), "mode": "required"})
    server = operated.server
    trial = operated.digest(operated.trial)
    verdict = server.screen(DOUBTFUL)

    assert (pb.DECISION_WITHHOLD, trial) == (verdict.decision, verdict.digests.policy)
    assert server.released()
    assert (trial, 1.0) == (operated.ensemble().canary.policy, operated.ensemble().canary.share)
    assert 1 == server.metric("interlock_rollout_decisions_total", policy="strict", result="enforced")
    record = verdicts(tmp_path / "log")[0]
    assert (trial, "WITHHOLD", "RELEASE") == (
        record.digests.policy, record.decided.decision, record.shadows["running"].decision,
    )  # fmt: skip

    operated.write(STRICT)
    operated.write(LENIENT, operated.trial)
    assert operated.reload().successful
    assert not server.released(DOUBTFUL)
    assert 1 == server.metric("interlock_rollout_decisions_total", policy="test", result="looser")
    assert "RELEASE" == verdicts(tmp_path / "log")[-1].shadows["canary"].decision


def test_the_command_line_operates_a_server(operate: Operate, tmp_path: Path):
    """Reload, status, promote and abort; a refusal is exit code 1."""
    operated = operate(bundle=canary(tmp_path, verdicts_min=7))

    def admin(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["admin", "--address", operated.target, *arguments])
        return done.exit_code, done.stdout

    assert (0, "done\n  nothing has changed\n") == admin("reload")
    code, text = admin("status")
    assert 0 == code
    assert operated.digest(operated.policy) in text
    assert operated.digest(operated.trial) in text
    assert "promotion needs 7" in text
    assert 1 == admin("promote")[0]
    assert 0 == admin("promote", "--force")[0]
    assert 1 == admin("abort")[0]


def test_a_reload_does_not_hinder_the_end(operate: Operate):
    """Neither one that is under way when the server is to end, nor one that is asked for while it drains."""
    operated = operate(transport={"drain_seconds": 5.0})
    server = operated.server
    operated.write(STRICT)
    server.script("alpha", mode="hang")
    slow = server.screen_later(timeout_s=PATIENT_S)
    server.eventually(lambda: server.metric("interlock_requests_in_flight") == 1)
    server.process.send_signal(signal.SIGHUP)
    server.terminate()
    server.eventually(lambda: server.events("draining"))
    server.process.send_signal(signal.SIGHUP)
    server.script("alpha")

    assert pb.DECISION_UNSPECIFIED != slow.result(PATIENT_S).verdict.decision
    assert 0 == server.stop()
