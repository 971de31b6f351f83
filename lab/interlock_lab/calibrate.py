"""`interlock calibrate`: trained models -> a sealed bundle with score maps, panel weights, dials and golden exchanges.

Everything is fitted on the split `shape`, after the worst over views and windows, through the exported bundle.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
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
from interlock_server.decision.panel_score import logit
from interlock_server.inference.golden import score_exchange
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange

from interlock_lab.fit_panel import KNOTS, CategoryFit, MemberFit, dial, fit_category, panel_scores
from interlock_lab.scores import Floats, evidence_of, member_scores
from interlock_lab.training.rows import CATEGORIES, Row, hash_unit, in_split
from interlock_lab.training.store import load_rows

ScoreMaps = dict[str, dict[str, dict[str, list[float]]]]

TOLERANCE = 0.05
BENIGN_TO, HARMFUL_FROM = 0.2, 0.5
# Profile -> the share of ordinary benign `shape` rows that each category may withhold.
BENIGN_SHARES = {"balanced": 0.05, "cautious": 0.10, "strict": 0.20}
HARMFUL_ABOVE_BENIGN = 0.995
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
        scores = member_scores(evidence_of(draft, rows, "scoring shape"))
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
    line = {"logits": list(KNOTS), "llrs": list(KNOTS)}
    maps = {member["name"]: dict.fromkeys(CATEGORIES, line) for member in MEMBERS}
    rule = {"weight": 1.0, "offset": 0.0, "clear_below": 0.0}
    profile = _profile({name: _rules(1.0, 1.0, dict.fromkeys(maps, rule)) for name in CATEGORIES})
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
    """Fits on the rows whose label in the category is known; panel scores come back for all rows."""
    category = CATEGORIES[place]
    label = np.array([np.nan if row.labels[category] is None else row.labels[category] for row in rows], dtype=float)
    known = (label <= BENIGN_TO) | (label > HARMFUL_FROM)
    weights = np.array([row.weight for row in rows])
    logits = {name: np.vectorize(logit)(values[:, place]) for name, values in scores.items()}
    members = fit_category({n: x[known] for n, x in logits.items()}, label[known] > HARMFUL_FROM, weights[known])
    return CategoryFit(members, panel_scores(members, logits))


def _maps(fits: dict[str, CategoryFit]) -> ScoreMaps:
    """The line over the log-odds, as two knots at the ends of what a score can be."""

    def knots(fit: MemberFit) -> dict[str, list[float]]:
        return {"logits": list(KNOTS), "llrs": [fit.llr(knot) for knot in KNOTS]}

    names = [member["name"] for member in MEMBERS]
    return {name: {category: knots(fit.members[name]) for category, fit in fits.items()} for name in names}


def _policy(rows: Sequence[Row], fits: dict[str, CategoryFit]) -> dict[str, Any]:
    """One profile per share; a dial is that quantile of the panel's score over ordinary benign rows."""
    ordinary = _ordinary(rows)
    profiles = {}
    for name, share in BENIGN_SHARES.items():
        rules = {}
        for category, fit in fits.items():
            benign = np.array([row.labels[category] == 0.0 for row in rows])
            release_below = max(dial(fit.panel_scores[ordinary], share), 2 * TOLERANCE)
            harmful_at = max(float(np.quantile(fit.panel_scores[benign], HARMFUL_ABOVE_BENIGN)), release_below)
            members = {
                member: {"weight": m.weight, "offset": m.offset, "clear_below": m.clear_below}
                for member, m in fit.members.items()
            }
            rules[category] = _rules(release_below, harmful_at, members)
        profiles[name] = _profile(rules)
    return _policy_file(profiles)


def _ordinary(rows: Sequence[Row]) -> npt.NDArray[np.bool_]:
    """Benign text that is nobody's look-alike: answers of dolly, and written rows whose pair has no harmful half."""
    alarming = {key for row in rows if row.harmful_in for key in row.keys}
    own = ("dolly", "written/")
    return np.array([r.source.startswith(own) and not r.harmful_in and alarming.isdisjoint(r.keys) for r in rows])


def _rules(release_below: float, harmful_at: float, members: dict[str, Any]) -> dict[str, Any]:
    rounded = {name: {key: round(value, 4) for key, value in rule.items()} for name, rule in members.items()}
    return {"release_below": round(release_below, 4), "harmful_at": round(harmful_at, 4), "members": rounded}


def _profile(rules: dict[str, Any]) -> dict[str, Any]:
    return {"tolerance": TOLERANCE, "categories": rules}


def _policy_file(profiles: dict[str, Any]) -> dict[str, Any]:
    return {"format": 1, "name": "default", "default_profile": "balanced", "profiles": profiles}
