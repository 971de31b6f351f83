"""The certificate at a real server: what it says, and what becomes of verdicts when it does not hold."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import BENIGN, CATEGORIES, HARMFUL, certificate_content, policy_content, reseal, script, write_bundle
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.app import certification
from interlock_server.bundle.load import load_bundle

from .conftest import StartServer
from .server import PATIENT_S, Server, reasons

TODAY = datetime.now(UTC).date()
STEEPER = {"logits": [-1.0, 1.0], "llrs": [-1.0, 1.1]}
LONG_AGO = {"issued": str(TODAY - timedelta(days=100)), "expires": str(TODAY)}


def ensemble(server: Server) -> pb.GetEnsembleResponse:
    """What is in force."""
    response: pb.GetEnsembleResponse = server.stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)
    return response


def select(server: Server) -> pb.SelectResponse:
    """Two candidates."""
    request = pb.SelectRequest(candidates=[BENIGN.encode(), HARMFUL.encode()])
    response: pb.SelectResponse = server.stub.Select(request, timeout=PATIENT_S)
    return response


def gauges(server: Server) -> tuple[float, float]:
    """Whether it is valid, and its bound for violence."""
    bound = server.metric("interlock_certificate_miss_rate_upper_bound", category="violence_injury")
    return server.metric("interlock_certificate_valid"), bound


def own_policy(path: Path, release_below: float = 2.0, **changes: Any) -> dict[str, str]:
    """A policy beside the bundle, as its configuration names it."""
    shared = policy_content(["alpha", "beta", "gamma"], latency_budget_ms=20_000, **changes)
    content = json.loads(json.dumps(shared))  # where categories are not one and the same rule
    content["profiles"]["balanced"]["categories"]["illicit"]["release_below"] = release_below
    (path / "own.yaml").write_text(yaml.safe_dump(content))
    return {"policy": str(path / "own.yaml")}


def test_one_that_holds_is_told_and_releases(start_server: StartServer, tmp_path: Path):
    """Bounds by category with confidence and clusters, in words and as gauges, and to Select."""
    server = start_server(certified={}, certificate="require", bundle=own_policy(tmp_path, certificate="require"))
    told = ensemble(server).certificate

    assert pb.CERTIFICATE_STATE_VALID == told.state
    assert [("violence_injury", 0.04, 0.95, 170), ("hate_harassment", 0.02, 0.95, 400)] == [
        (bound.category, bound.miss_rate_upper_bound, bound.confidence, bound.clusters) for bound in told.bounds
    ]
    assert "There is no bound for illicit, self_harm." in told.statement
    assert (1.0, 0.04) == gauges(server)
    assert 0 < server.metric("interlock_certificate_age_seconds") < 2 * 86_400
    assert server.released()
    assert (0, False) == (select(server).selected, select(server).HasField("miss_rate_upper_bound"))
    assert "harmful in violence_injury or hate_harassment any is released with a probability of at most 0.08" in (
        select(server).statement
    )


def test_one_threshold_makes_it_void(start_server: StartServer, tmp_path: Path):
    """By a hair; all else is as it is above."""
    server = start_server(
        certified={}, certificate="require", bundle=own_policy(tmp_path, 2.0001, certificate="require")
    )
    told = ensemble(server).certificate

    assert (pb.CERTIFICATE_STATE_VOID, 0) == (told.state, len(told.bounds))
    assert "belongs to other models or thresholds" in told.statement
    assert (0.0, 1.0) == gauges(server)
    assert [("VOID", "error", True)] == [
        (event["state"], event["level"], event["withholds_everything"]) for event in server.events("certificate")
    ]
    assert ["CERTIFICATE_LAPSED"] == reasons(server.screen())
    assert ["INPUT_EMPTY", "CERTIFICATE_LAPSED"] == reasons(server.screen(""))
    assert ["HARMFUL", "CERTIFICATE_LAPSED"] == reasons(server.screen(HARMFUL))
    assert select(server).statement.startswith("No bound")
    assert not select(server).HasField("selected")


def test_one_that_has_expired_alarms_and_releases(start_server: StartServer):
    """Unless the policy insists on it."""
    server = start_server(certified=LONG_AGO)

    assert pb.CERTIFICATE_STATE_LAPSED == ensemble(server).certificate.state
    assert (0.0, 1.0) == gauges(server)
    assert [("LAPSED", "error", False)] == [
        (event["state"], event["level"], event["withholds_everything"]) for event in server.events("certificate")
    ]
    assert server.released()


def test_a_policy_of_ones_own_may_bring_one(start_server: StartServer, tmp_path: Path):
    """Made for it, and for these models."""
    settings = own_policy(tmp_path, 1.5, certificate="require")
    write_bundle(tmp_path / "same")
    certified = certificate_content(load_bundle(tmp_path / "same", policy_path=Path(settings["policy"])))
    (tmp_path / "own.json").write_text(json.dumps(certified))
    server = start_server(bundle={**settings, "certificate": str(tmp_path / "own.json")})

    assert pb.CERTIFICATE_STATE_VALID == ensemble(server).certificate.state
    assert server.released()


def test_one_byte_of_a_model_makes_it_void(tmp_path: Path):
    """Also in a bundle that somebody sealed again; anything beside models and thresholds does not."""
    write_bundle(tmp_path / "bundle", certified={})
    (tmp_path / "bundle" / "golden.jsonl").write_text((tmp_path / "bundle" / "golden.jsonl").read_text() * 2)
    reseal(tmp_path / "bundle")
    before = certification(load_bundle(tmp_path / "bundle")).state()
    script(tmp_path / "bundle", "alpha", phrases={"stabbed": 0.98})
    reseal(tmp_path / "bundle")

    assert ("VALID", "VOID") == (before, certification(load_bundle(tmp_path / "bundle")).state())


@pytest.mark.parametrize(
    "change",
    [{"kind": "other"}, {"score_maps": {name: STEEPER for name in CATEGORIES}}],
)
def test_other_settings_of_a_model_make_it_void(tmp_path: Path, change: dict[str, Any]):
    """What it reads, and what its scores mean."""
    write_bundle(tmp_path / "bundle", certified={})
    members = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["members"]
    members[0] |= change
    reseal(tmp_path / "bundle", members=members)

    assert "VOID" == certification(load_bundle(tmp_path / "bundle")).state()
