"""`interlock fit-gate`: fits the gate for the unknown, puts it into a bundle, and says what it holds back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from interlock_server.app import load_gate, load_members
from interlock_server.assurance.gate import Gate, Ranks
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange, MemberManifest
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError
from interlock_server.inference.gating import ood_pvalue
from interlock_server.inference.scoring import Member, score_exchange
from interlock_server.text.exchange import Exchange

from interlock_lab.bundle_edit import Draft, edited
from interlock_lab.gate.figures import GateFigures, Share, known_shares, spread, suite_figures
from interlock_lab.gate.fit import (
    UNFITTED,
    Looked,
    calibration_rows,
    looked_at,
    ranked,
    reference_arrays,
    reference_rows,
    save_gate,
)
from interlock_lab.gate.layer import look_at_layer
from interlock_lab.gate.section import section
from interlock_lab.training.data import load
from interlock_lab.training.rows import Row

GATE_FILE = "gate.npz"
ALPHAS = "permissive=0.01,balanced=0.01,cautious=0.02,strict=0.05"


def fit_gate(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The public sets.")],
    out: Annotated[Path, typer.Option(help="A new folder for the bundle with its gate.")],
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The bundle.")] = DEFAULT_BUNDLE,
    member: Annotated[str, typer.Option(help="Whose hidden states are compared.")] = "encoder",
    layer: Annotated[int, typer.Option(help="After how many layers; 0 for what the model's output is.", min=0)] = 2,
    alpha: Annotated[str, typer.Option(help="Per profile, the share of known texts that may be held back.")] = ALPHAS,
    report: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON; beside it as Markdown.")] = None,
) -> None:
    """Fit the gate for the unknown, seal it into a bundle, and measure what it holds back."""
    figures = fitted(bundle, out, load(data), member, layer, _alphas(alpha))
    if report is not None:
        report.write_text(figures.to_json(), encoding="utf-8")
        report.with_suffix(".md").write_text(section(figures), encoding="utf-8")
    typer.echo(section(figures))
    typer.echo(f"{out}: {load_bundle(out).digest}")


def fitted(
    bundle: Path, out: Path, rows: Sequence[Row], name: str, layer: int, alphas: dict[str, float]
) -> GateFigures:
    """Writes the bundle with its gate to `out`; raises ConfigError when it has no such member, layer or profile."""
    calibration = calibration_rows(rows)
    with edited(bundle, out) as draft:
        member = _member(load_bundle(bundle), name)
        if layer:
            look_at_layer(draft.path / member.files["model"], layer)
        looked, found = _fit(draft.path, member, rows, calibration)
        _put_in(draft, name, alphas)
        gate = load_gate(load_bundle(draft.path))
        assert gate is not None
    profiles = load_bundle(out).policy.profiles
    return GateFigures(
        alphas=alphas,
        calibration={c: dict(zip(r.sizes, map(len, r.groups), strict=True)) for c, r in found.items()},
        suites=suite_figures(out),
        known={p: known_shares(looked, gate, a, profiles[p].tolerance) for p, a in alphas.items()},
        known_spread={p: spread(looked, gate, a, profiles[p].tolerance) for p, a in alphas.items()},
        refused=Share(len(calibration) - len(looked), len(calibration)),
    )


def _member(bundle: Bundle, name: str) -> MemberManifest:
    for member in bundle.manifest.members:
        if member.name == name and member.backend == "onnx":
            return member
    raise ConfigError(f"--member: the bundle has no member {name!r} that runs on ONNX Runtime")


def _fit(
    folder: Path, member: MemberManifest, rows: Sequence[Row], calibration: Sequence[Row]
) -> tuple[list[Looked], dict[str, Ranks]]:
    """Writes the file; the checks look at the calibration texts through a first version of it, without ranks."""
    files: dict[str, Path] = {role: folder / name for role, name in member.files.items()}
    files["gate"] = folder / GATE_FILE
    arrays = reference_arrays(member, files, reference_rows(rows))
    save_gate(files["gate"], arrays, UNFITTED)
    looked = looked_at(member, files, calibration)
    found = ranked(looked)
    save_gate(files["gate"], arrays, found)
    return looked, found


def _put_in(draft: Draft, name: str, alphas: dict[str, float]) -> None:
    """Names the file, sets the alphas, notes what the gate says of the golden exchanges, and seals."""
    for entry in draft.manifest["members"]:
        if entry["name"] == name:
            entry["files"]["gate"] = GATE_FILE
    for profile, alpha in alphas.items():
        if profile not in draft.policy["profiles"]:
            raise ConfigError(f"--alpha: the policy has no profile {profile!r}")
        draft.policy["profiles"][profile]["ood_alpha"] = alpha
    bundle = draft.seal()
    gate, members = load_gate(bundle), {each.name: each for each in load_members(bundle)}
    assert gate is not None
    draft.golden = [row.model_copy(update={"ood_pvalue": _golden(gate, members[name], row)}) for row in draft.golden]
    draft.seal()


def _golden(gate: Gate, member: Member, row: GoldenExchange) -> float | None:
    exchange = Exchange(row.prompt, row.completion)
    return ood_pvalue(gate, exchange, (score_exchange(member, exchange),))


def _alphas(text: str) -> dict[str, float]:
    """Profile -> alpha; raises ConfigError."""
    try:
        return {profile.strip(): float(value) for profile, _, value in (p.partition("=") for p in text.split(","))}
    except ValueError:
        raise ConfigError(f"--alpha: {text!r} is not PROFILE=ALPHA,...") from None
