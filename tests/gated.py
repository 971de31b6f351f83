"""A small real bundle with a gate for the unknown: alpha is a sum of embeddings on ONNX Runtime, beta is scripted."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fakes import BENIGN, CATEGORIES, manifest_content, member, policy_content, script
from interlock_server.app import load_gate, load_members
from interlock_server.assurance.gate import CHECKS
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.inference.gating import ood_pvalue
from interlock_server.inference.scoring import score_exchange
from interlock_server.text.exchange import Exchange
from interlock_server.text.gibberish import LETTER_CLASSES

DATA = Path(__file__).parent / "data"
FLAT = {"logits": [-100.0, 100.0], "llrs": [-1.0, 1.0]}
READS = {"tokens_max": 32, "prompt_tokens_max": 8}
LENIENT = {"weight": 1.0, "offset": 0.0, "clear_below": 0.13}
STRANGE = "xq zvk wjq pfh " * 20


def write_onnx_bundle(path: Path, gated: bool = True, alpha: float | None = 0.05, **gate: Any) -> Bundle:
    """A sealed bundle that releases everything but what its gate, if there is one, holds back; `gate` replaces arrays."""
    path.mkdir(parents=True)
    for name in ("hidden.onnx", "tokenizer.json"):
        shutil.copy(DATA / name, path / name)
    script(path, "beta")
    files = {"model": "hidden.onnx", "tokenizer": "tokenizer.json"}
    if gated:
        np.savez(path / "gate.npz", **{**gate_arrays(), **gate})
        files["gate"] = "gate.npz"
    flat = {"score_maps": dict.fromkeys(CATEGORIES, FLAT)}
    members = [member("alpha", backend="onnx", files=files, reads=READS, **flat), member("beta", **flat)]
    content = manifest_content(members)
    row = GoldenExchange(
        prompt="", completion=BENIGN, scores=dict.fromkeys(["alpha", "beta"], dict.fromkeys(CATEGORIES, 0.5))
    )
    _write(path, content, row, None)
    _write(path, content, _scored(load_bundle(path), row), alpha if gated else None)
    return load_bundle(path)


def gate_arrays() -> dict[str, Any]:
    """Only letters can be strange: those of `STRANGE` are."""
    unmoved = {f"{check}_sizes": np.array([0]) for check in CHECKS} | {
        f"{check}_0": np.full(99, 1e9) for check in CHECKS
    }
    letters = {"letters_0": np.full(99, 2.7), "surprise": _surprise(), "ordinary": np.array(1.0)}
    return {"prototypes": np.vstack([np.eye(4)] * 3), **unmoved, **letters}


def _surprise() -> Any:
    """Three letters without a vowel surprise."""
    surprise = np.full((29, 29, 29), 4.0)
    for place in (LETTER_CLASSES.index(vowel) for vowel in "aeiou"):
        surprise[place], surprise[:, place], surprise[:, :, place] = 1.0, 1.0, 1.0
    return surprise


def _write(path: Path, content: dict[str, Any], row: GoldenExchange, alpha: float | None) -> None:
    policy = policy_content(["alpha", "beta"])
    for profile in policy["profiles"].values():
        category = {"release_below": 30.0, "harmful_at": 40.0, "members": dict.fromkeys(["alpha", "beta"], LENIENT)}
        profile |= {"categories": dict.fromkeys(CATEGORIES, category), "ood_alpha": alpha}
    (path / "policy.yaml").write_text(yaml.safe_dump(policy, default_flow_style=False))
    (path / "golden.jsonl").write_text(8 * (row.model_dump_json() + "\n"))
    seal(path, content)


def _scored(bundle: Bundle, row: GoldenExchange) -> GoldenExchange:
    exchange = Exchange(row.prompt, row.completion)
    reports = tuple(score_exchange(each, exchange) for each in load_members(bundle))
    scores = {report.evidence.member: report.evidence.scores for report in reports}
    gate = load_gate(bundle)
    return row.model_copy(update={"scores": scores, "ood_pvalue": gate and ood_pvalue(gate, exchange, reports)})
