"""What quantisation changes: the same bundle with the encoder as FP32, under the same maps and dials, verdict by verdict.

Without the gate for the unknown, on both sides: it is measured on hidden states of the encoder that ships.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock_server.app import load_members
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.inference.scoring import Member, score_exchange
from interlock_server.text.exchange import Exchange

from interlock_lab.bundle_edit import edited
from interlock_lab.suites import Suite, scored


@dataclass(frozen=True)
class Flips:
    """Of `rows` harmful rows at the default profile: how many verdicts differ, and how many FP32 alone withholds."""

    rows: int
    flipped: int
    released_by_int8: int


def verdict_flips(bundle: Bundle, work_dir: Path, judged: Suite) -> Flips:
    """Compares the bundle's verdicts on the harmful rows of a suite with those of its FP32 twin."""
    harmful = [(row, item) for row, item in zip(judged.rows, judged.evidence, strict=True) if row.harmful_in]
    rows = [row for row, _ in harmful]
    with tempfile.TemporaryDirectory() as folder:
        twin = fp32_twin(bundle, work_dir / "encoder_fp32.onnx", Path(folder) / "bundle")
        policy = load_bundle(twin).policy
        (exact,) = scored(twin, [("fp32", rows)], "scoring in FP32")
    int8 = Suite("int8", rows, [item for _, item in harmful]).withheld(policy, policy.default_profile)
    fp32 = exact.withheld(policy, policy.default_profile)
    changed = [(a, b) for a, b in zip(int8, fp32, strict=True) if a != b]
    return Flips(len(rows), len(changed), sum(not a for a, _ in changed))


def fp32_twin(bundle: Bundle, encoder: Path, folder: Path) -> Path:
    """A copy of the bundle with another encoder file, golden scores of its own, and nothing that was stated of the first."""
    with edited(bundle.path, folder) as draft:
        shutil.copyfile(encoder, draft.path / "encoder.onnx")
        draft.manifest |= dict.fromkeys(("stories", "story_results", "certificate"))
        for member in draft.manifest["members"]:
            member["files"].pop("gate", None)
        for profile in draft.policy["profiles"].values():
            profile.pop("ood_alpha", None)
        members = load_members(draft.seal())
        draft.golden = [_golden(members, row) for row in bundle.golden]
        draft.seal()
    return folder


def _golden(members: list[Member], row: GoldenExchange) -> GoldenExchange:
    exchange = Exchange(row.prompt, row.completion)
    scores: dict[str, Any] = {each.name: dict(score_exchange(each, exchange).evidence.scores) for each in members}
    return GoldenExchange(prompt=row.prompt, completion=row.completion, scores=scores)
