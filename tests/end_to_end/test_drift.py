"""Drift on a real server: a baseline from its own log, traffic that is not like it, and what ends conservative mode."""

from pathlib import Path
from typing import Any

import pytest
from fakes import BENIGN, CATEGORIES, policy_content
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.cli import app
from typer.testing import CliRunner

from .conftest import StartServer
from .server import MEMBERS, PATIENT_S, Server, exchange, reasons
from .test_audit import verdicts

MURMURED = "They murmured something."
"""What the usual profile releases and the strict one does not."""
SCRIPTS = {name: {"phrases": {"murmured": 0.15}} for name in MEMBERS}
BATCH = 200


def profiles() -> dict[str, Any]:
    content = policy_content(list(MEMBERS))["profiles"]["balanced"]
    rule = content["categories"][CATEGORIES[0]]
    return {
        "balanced": content,
        "strict": {"categories": {key: {**rule, "release_below": 0.5} for key in CATEGORIES}},
    }


def converse(server: Server, conversations: int, completion: str, first: int = 0) -> None:
    """So many conversations of one exchange."""
    for begin in range(first, first + conversations, BATCH):
        exchanges = [exchange(completion, f"prompt {number}") for number in range(begin, begin + BATCH)]
        server.stub.ScreenBatch(pb.ScreenBatchRequest(exchanges=exchanges), timeout=PATIENT_S)


def drift(server: Server, *arguments: object) -> str:
    """`interlock drift`, with the configuration of a server."""
    done = CliRunner().invoke(app, ["drift", *map(str, arguments), "--config", str(server.config)])
    assert done.exception is None, done.exception
    return done.stdout


def test_drift_latches_the_strict_profile_until_it_is_attested(start_server: StartServer, tmp_path: Path):
    """Over a restart, and over whatever profile is asked for."""
    settings: dict[str, Any] = {
        "audit": {"folder": str(tmp_path / "log"), "mode": "required"},
        "drift": {
            "baseline": str(tmp_path / "baseline.json"), "state": str(tmp_path / "state.json"), "reread_s": 0.1,
        },
        "scripts": SCRIPTS,
        "profiles": profiles(),
    }  # fmt: skip
    attested = [tmp_path / "log", "--by", "ann", "--out", tmp_path / "baseline.json", "--caller-share", "1"]
    server = start_server(**{**settings, "drift": {"state": str(tmp_path / "state.json")}})
    converse(server, 1_000, BENIGN)
    server.stop()
    assert "withheld" in drift(server, "attest", *attested)
    drift(server, "clear", "--by", "ann")

    server = start_server(**settings)
    assert 1 == server.metric("interlock_drift_armed")
    assert server.released(MURMURED)
    converse(server, 400, MURMURED, first=10_000)
    assert 1 == server.metric("interlock_conservative_mode")
    assert server.metric("interlock_drift_distance_lower_bound", statistic="member:alpha") > 0.1
    verdict = server.screen(MURMURED, profile="balanced", extra_margin=0.1)
    assert (pb.DECISION_WITHHOLD, "strict", ["UNCERTAIN"]) == (verdict.decision, verdict.profile, reasons(verdict))
    recorded = verdicts(tmp_path / "log")[-1].evidence
    assert ("strict", 0.1, False) == (recorded.profile, recorded.extra_margin, recorded.conservative)
    assert server.released(BENIGN)
    server.stop()

    server = start_server(**settings)
    assert not server.released(MURMURED)
    drift(server, "attest", *attested)
    server.eventually(lambda: server.released(MURMURED))
    assert 0 == server.metric("interlock_conservative_mode")


@pytest.mark.parametrize("action", ["profile", "withhold"])
def test_a_state_that_is_lost_is_a_latch(start_server: StartServer, tmp_path: Path, action: str):
    """`withhold` releases nothing while it lasts."""
    settings = {"state": str(tmp_path / "state.json"), "action": action, "reread_s": 0.1}
    server = start_server(drift=settings, scripts=SCRIPTS, profiles=profiles())
    verdict = server.screen(BENIGN)

    assert 1 == server.metric("interlock_conservative_mode")
    assert not server.released(MURMURED)
    assert (["CONSERVATIVE_MODE"] if action == "withhold" else []) == reasons(verdict)
    drift(server, "clear", "--by", "ann")
    server.eventually(lambda: server.released(MURMURED))


def test_labels_refute_a_certificate_that_promises_too_much(start_server: StartServer, tmp_path: Path):
    """Drawn for audit, reported through Report, and bet against the bound; the server says so within its interval."""
    folder, queue = tmp_path / "log", tmp_path / "queue.jsonl"
    server = start_server(
        audit={"folder": str(folder), "mode": "required"},
        drift={"refutation": str(tmp_path / "refutation.json"), "reread_s": 0.1},
        certified={},
    )
    assert (0, 1) == tuple(server.metric(f"interlock_certificate_{name}") for name in ("refuted", "valid"))
    released = [server.screen(f"{BENIGN} Number {number}.").verdict_id for number in range(8)]
    for name in released:
        server.stub.Report(
            pb.ReportRequest(verdict_id=name, label=pb.FEEDBACK_LABEL_HARMFUL, categories=["violence_injury"]),
            timeout=PATIENT_S,
        )
    queue.write_text("".join(f'{{"verdict_id": "{name}", "propensity": 0.5, "caller": ""}}\n' for name in released))
    done = CliRunner().invoke(
        app, ["drift", "refute-check", str(folder), "--queue", str(queue), "--config", str(server.config)]
    )

    assert (1, "refuted: violence_injury") == (done.exit_code, done.stdout.splitlines()[-1])
    server.eventually(lambda: server.metric("interlock_certificate_refuted") == 1)
    assert 0 == server.metric("interlock_certificate_valid")
