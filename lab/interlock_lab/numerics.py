"""What quantisation changes: the same bundle with the encoder as FP32, under the same maps and dials, verdict by verdict."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock_server.app import load_members
from interlock_server.bundle.load import MANIFEST, Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.inference.scoring import score_exchange
from interlock_server.text.exchange import Exchange

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
        (exact,) = scored(twin, [("fp32", rows)], "scoring in FP32")
    policy = bundle.policy
    int8 = Suite("int8", rows, [item for _, item in harmful]).withheld(policy, policy.default_profile)
    fp32 = exact.withheld(policy, policy.default_profile)
    changed = [(a, b) for a, b in zip(int8, fp32, strict=True) if a != b]
    return Flips(len(rows), len(changed), sum(not a for a, _ in changed))


def fp32_twin(bundle: Bundle, encoder: Path, folder: Path) -> Path:
    """A copy of the bundle with another encoder file, and golden scores of its own."""
    shutil.copytree(bundle.path, folder)
    shutil.copyfile(encoder, folder / "encoder.onnx")
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in ("format", "files")}
    seal(folder, content)
    members = load_members(load_bundle(folder))
    lines = []
    for row in bundle.golden:
        exchange = Exchange(row.prompt, row.completion)
        scores = {member.name: dict(score_exchange(member, exchange).evidence.scores) for member in members}
        golden = GoldenExchange(prompt=row.prompt, completion=row.completion, scores=scores)
        lines.append(golden.model_dump_json() + "\n")
    (folder / bundle.manifest.golden).write_text("".join(lines), encoding="utf-8")
    seal(folder, content)
    return folder
