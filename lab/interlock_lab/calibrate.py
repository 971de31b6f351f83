"""`interlock calibrate`: trained models -> a sealed bundle with score maps, panel weights, dials and golden exchanges.

Everything is fitted on the split `shape`, after the worst over views and windows, through the exported bundle.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
import yaml
from interlock_server.app import load_members
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_DIGEST_FILE
from interlock_server.decision.policy import Streaming
from interlock_server.inference.scoring import Member, score_exchange
from interlock_server.text.exchange import Exchange

from interlock_lab.fit_panel import CategoryFit, share_of_each
from interlock_lab.panel import IDENTITY, ORDINARY_SHARE, PROFILES, TOLERANCE, category_rules, fit, score_map
from interlock_lab.scores import Floats, asked, evidence_of, member_scores
from interlock_lab.training.rows import CATEGORIES, Row, hash_unit, in_split
from interlock_lab.training.store import load_rows

ScoreMaps = dict[str, dict[str, dict[str, list[float]]]]

GOLDEN_COUNT = 32
GOLDEN_TOLERANCE = 0.05  # INT8 kernels differ between processors
FILES = ("encoder.onnx", "sentences.onnx", "ngrams.npz", "tokenizer.json")
MEMBERS: tuple[dict[str, Any], ...] = (
    {
        "name": "encoder",
        "kind": "transformer",
        "backend": "onnx",
        "reads": {"input": "exchange", "tokens_max": 256, "prompt_tokens_max": 48},
        "files": {"model": "encoder.onnx", "tokenizer": "tokenizer.json"},
    },
    {
        "name": "sentences",
        "kind": "convolution",
        "backend": "onnx",
        "reads": {"input": "sentences", "tokens_max": 64},
        "files": {"model": "sentences.onnx", "tokenizer": "tokenizer.json"},
    },
    {
        "name": "ngrams",
        "kind": "linear",
        "backend": "linear",
        "reads": {"input": "characters", "chars_max": 400},
        "files": {"model": "ngrams.npz"},
    },
)


def calibrate(
    work_dir: Annotated[Path, typer.Option("--work", exists=True, file_okay=False, help="What `train` has written.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder; it is replaced.")] = DEFAULT_BUNDLE,
) -> None:
    """Fit score maps, panel and dials on the split `shape`, and seal the bundle."""
    rows = in_split(load_rows(work_dir / "rows.jsonl"), "shape")
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        golden = _draft(draft, work_dir, rows)
        rows, evidence = asked(rows, evidence_of(draft, rows, "scoring shape"))
    scores = member_scores(evidence)
    fits = {category: _fit(rows, scores, place) for place, category in enumerate(CATEGORIES)}
    digest = assemble(out, work_dir, _maps(fits), _policy(rows, fits), golden)
    if out == DEFAULT_BUNDLE:
        DEFAULT_DIGEST_FILE.write_text(digest + "\n")
    typer.echo(f"{out}: {digest}")


def assemble(
    out: Path, work_dir: Path, maps: ScoreMaps, policy: dict[str, Any], golden: Sequence[GoldenExchange]
) -> str:
    """Writes and seals a bundle of the models in the work folder; returns its digest."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(work_dir / name, out / name)
    (out / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    (out / "golden.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in golden))
    members = [
        {
            **member,
            "categories": list(CATEGORIES),
            "score_maps": maps[member["name"]],
            "golden_tolerance": GOLDEN_TOLERANCE,
        }
        for member in MEMBERS
    ]
    files = {"policy": "policy.yaml", "golden": "golden.jsonl"}
    return seal(out, {"name": "default", "categories": list(CATEGORIES), "members": members, **files})


def _draft(draft: Path, work_dir: Path, rows: Sequence[Row]) -> list[GoldenExchange]:
    """A bundle whose maps and dials mean nothing yet, for scoring; returns its golden exchanges."""
    maps = {member["name"]: dict.fromkeys(CATEGORIES, IDENTITY) for member in MEMBERS}
    rule = {"weight": 1.0, "offset": 0.0, "clear_below": 0.0}
    rules = {"release_below": 1.0, "harmful_at": 1.0, "members": dict.fromkeys(maps, rule)}
    profile = _profile(dict.fromkeys(CATEGORIES, rules))
    policy = _policy_file({"balanced": profile})
    nobody = {name: dict.fromkeys(CATEGORIES, 0.0) for name in maps}
    golden = [GoldenExchange(prompt=r.prompt, completion=r.completion, scores=nobody) for r in _golden_rows(rows)]
    assemble(draft, work_dir, maps, policy, golden)
    members = load_members(load_bundle(draft))
    golden = [row.model_copy(update={"scores": _scores(members, row)}) for row in golden]
    assemble(draft, work_dir, maps, policy, golden)
    return golden


def _scores(members: Sequence[Member], row: GoldenExchange) -> dict[str, dict[str, float]]:
    exchange = Exchange(row.prompt, row.completion)
    return {member.name: dict(score_exchange(member, exchange).evidence.scores) for member in members}


def _golden_rows(rows: Sequence[Row]) -> list[Row]:
    """Half harmful, half benign, of this project's own set, since they are published with the bundle."""
    own = sorted((row for row in rows if row.source.startswith("written/")), key=lambda row: hash_unit(row.id))
    half = GOLDEN_COUNT // 2
    return [row for row in own if row.harmful_in][:half] + [row for row in own if not row.harmful_in][:half]


def _fit(rows: Sequence[Row], scores: dict[str, Floats], place: int) -> CategoryFit:
    label = np.array([np.nan if row.label_vector[place] is None else row.label_vector[place] for row in rows], float)
    weights = np.array([row.weight for row in rows])
    return fit({name: values[:, place] for name, values in scores.items()}, label, weights)


def _maps(fits: dict[str, CategoryFit]) -> ScoreMaps:
    names = [member["name"] for member in MEMBERS]
    return {name: {category: score_map(fit.members[name]) for category, fit in fits.items()} for name in names}


def _policy(rows: Sequence[Row], fits: dict[str, CategoryFit]) -> dict[str, Any]:
    """All profiles alike, at one share of ordinary rows: `interlock certify` turns the dials of each to what it promises."""
    ordinary = _ordinary(rows)
    share = share_of_each([fit.panel_scores[ordinary] for fit in fits.values()], ORDINARY_SHARE)
    rules = {
        category: category_rules(fit, ordinary, np.array([row.labels[category] == 0.0 for row in rows]), share)
        for category, fit in fits.items()
    }
    return _policy_file({name: _profile(deepcopy(rules)) for name in PROFILES})


def _ordinary(rows: Sequence[Row]) -> npt.NDArray[np.bool_]:
    """Benign text that is nobody's look-alike: answers of dolly, and written rows whose pair has no harmful half."""
    alarming = {key for row in rows if row.harmful_in for key in row.keys}
    own = ("dolly", "written/")
    return np.array([r.source.startswith(own) and not r.harmful_in and alarming.isdisjoint(r.keys) for r in rows])


def _profile(rules: dict[str, Any]) -> dict[str, Any]:
    return {"tolerance": TOLERANCE, "categories": rules}


def _policy_file(profiles: dict[str, Any]) -> dict[str, Any]:
    streaming = {"hold_back_bytes": Streaming.hold_back_bytes, "doubt_bytes": Streaming.doubt_bytes}
    return {
        "format": 1,
        "name": "default",
        "default_profile": "balanced",
        "profiles": profiles,
        "streaming": streaming,  # as `interlock hold-back` found it
    }
