"""An ensemble with a member on every backend, through the composition root, in this process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from backends.cases import DATA
from fakes import BENIGN, CATEGORIES, manifest_content, member, policy_content, script
from interlock_server.app import load, load_members, running_filter
from interlock_server.backends.ngram_features import BUCKETS
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.config import BundleSettings, Config
from interlock_server.errors import BundleError
from interlock_server.filter import SafetyFilter
from interlock_server.inference.scoring import score_exchange
from interlock_server.metrics import Metrics
from interlock_server.screening import Request
from interlock_server.text.exchange import Exchange

MEMBERS = [
    member("encoder", backend="onnx", files={"model": "tiny.onnx", "tokenizer": "tokenizer.json"}),
    member("ngrams", backend="linear", files={"model": "ngrams.npz"}, reads={"input": "characters"}),
    member("phrases"),
]
NAMES = [entry["name"] for entry in MEMBERS]


def golden(completion: str, scores: dict[str, dict[str, float]]) -> str:
    row = GoldenExchange(prompt="", completion=completion, scores=scores)
    return 8 * (row.model_dump_json() + "\n")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Sealed twice: the golden scores are those of the members themselves."""
    rule: dict[str, Any] = {"weight": 0.01, "offset": 0.0, "clear_below": 13.0}
    policy = policy_content(NAMES)
    for category in policy["profiles"]["balanced"]["categories"].values():
        category["members"] = dict.fromkeys(NAMES, rule)
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))
    for name in ("tiny.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    weights = np.random.default_rng(0).normal(0, 0.01, (BUCKETS, 4)).astype(np.float32)
    np.savez(tmp_path / "ngrams.npz", weights=weights, bias=np.zeros(4))
    script(tmp_path, "phrases")
    (tmp_path / "golden.jsonl").write_text(golden(BENIGN, dict.fromkeys(NAMES, dict.fromkeys(CATEGORIES, 0.5))))
    seal(tmp_path, manifest_content(MEMBERS))
    found = {item.name: dict(_perform(item)) for item in load_members(load_bundle(tmp_path))}
    (tmp_path / "golden.jsonl").write_text(golden(BENIGN, found))
    seal(tmp_path, manifest_content(MEMBERS))
    return tmp_path


def _perform(item: Any) -> Any:
    return score_exchange(item, Exchange("", BENIGN)).evidence.scores


def config(path: Path) -> Config:
    return Config(bundle=BundleSettings(path=str(path), digest=load_bundle(path).digest))


@pytest.fixture
async def safety_filter(bundle: Path) -> AsyncIterator[SafetyFilter]:
    """Loaded, checked and warm."""
    settings = config(bundle)
    async with running_filter(settings, load(settings), Metrics(), budget_s=60.0) as running:
        yield running


async def test_every_backend_gives_its_evidence(safety_filter: SafetyFilter):
    """Complete, and together a verdict."""
    screening = await safety_filter.screen(Request(b"What did she do?", BENIGN.encode()))

    assert dict.fromkeys(NAMES, True) == {r.evidence.member: r.evidence.coverage_complete for r in screening.reports}
    assert screening.verdict.released


async def test_every_backend_says_where_it_runs(safety_filter: SafetyFilter):
    """As verdicts and metrics will."""
    found = {item.name: item.backend.provider for item in safety_filter.panel.members}

    assert {"encoder": "CPUExecutionProvider", "ngrams": "numpy", "phrases": "script"} == found


async def test_equal_requests_get_equal_verdicts(safety_filter: SafetyFilter):
    """Also when they are judged at the same time."""
    margins = {(await safety_filter.screen(Request(b"", BENIGN.encode()))).verdict.margin for _ in range(5)}

    assert 1 == len(margins)


async def test_a_text_that_one_member_cannot_read_is_withheld(safety_filter: SafetyFilter):
    """Its tokenizer drops what the others can read, so it has no evidence."""
    screening = await safety_filter.screen(Request(b"", "\ue000\ue001".encode()))

    assert ["MEMBER_INVALID"] == list(screening.verdict.reasons)


async def test_altered_weights_do_not_go_into_service(bundle: Path):
    """Though whoever altered them sealed the bundle anew."""
    np.savez(bundle / "ngrams.npz", weights=np.zeros((BUCKETS, 4), np.float32), bias=np.full(4, 2.0))
    seal(bundle, manifest_content(MEMBERS))
    settings = config(bundle)
    with pytest.raises(BundleError, match=r"^member ngrams: violence_injury of golden exchange 1 is off by"):
        async with running_filter(settings, load(settings), Metrics()):
            pass
