"""`interlock certify`: a policy whose dials carry a bound on the share of harmful text that gets past them, with a certificate.

The order is the point: what will be claimed is fixed and written into the ledger, then the units are scored, then the dials
follow. Nobody chooses anything after the first score.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from interlock_server.assurance import bounds
from interlock_server.bundle import policy_file
from interlock_server.bundle.load import Bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision import decide, panel_score
from interlock_server.errors import ConfigError, InterlockError
from interlock_server.strict import read_mapping

from interlock_lab.bundle_edit import Draft, edited
from interlock_lab.certify.claims import Claim, claims_for
from interlock_lab.certify.dials import Set, find_dials, refuse_swapped
from interlock_lab.certify.figures import Figures, Found, figures, forecasts, plot_name
from interlock_lab.certify.forecast_report import plot
from interlock_lab.certify.issue import CERTIFICATE, issued
from interlock_lab.certify.labelled import (
    SHIPPED_LABELS,
    Labelled,
    join_shipped,
    load_labelled,
    refuse_known,
    refuse_twins,
    set_digest,
)
from interlock_lab.certify.ledger import NAME, Commitment, Entry, code_digest, next_delta, open_set
from interlock_lab.certify.outcome import UNREACHABLE, lines
from interlock_lab.certify.page import rendered
from interlock_lab.certify.plots import save_plots
from interlock_lab.certify.price import Benign, benign_rows
from interlock_lab.certify.reliability import margins_comparable, reliabilities
from interlock_lab.certify.report import spoken
from interlock_lab.certify.statistic import Dials, settled
from interlock_lab.certify.targets import Targets, parse_targets
from interlock_lab.scores import evidence_of
from interlock_lab.training.data import load as load_rows
from interlock_lab.training.rows import Row
from interlock_lab.training.store import write_text

_OWN = ("claims", "dials", "labelled", "statistic", "targets", "units")
DECIDING = [
    *(Path(__file__).with_name(f"{name}.py") for name in _OWN),
    *(Path(str(module.__file__)) for module in (bounds, decide, panel_score, policy_file)),
]
"""The files on which dials and bounds depend; changing a report opens nothing anew."""


def certify(
    out: Annotated[Path, typer.Option(help="The policy to write; its certificate is written beside it.")],
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The bundle's folder.")] = DEFAULT_BUNDLE,
    data: Annotated[
        Path | None, typer.Option(help="Labelled exchanges (JSON lines); by default the shipped ones.")
    ] = None,
    public: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The folder of the public sets.")
    ] = None,
    alpha: Annotated[
        list[str] | None,
        typer.Option(help="[PROFILE:]CATEGORY[@SOURCE]=RATE,...; may be repeated. By default the shipped targets."),
    ] = None,
    delta: Annotated[float, typer.Option(min=1e-6, max=0.5, help="How often all bounds together may fail.")] = 0.05,
    benign: Annotated[Path | None, typer.Option(help="More benign exchanges (JSON lines), for the price.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A policy of one's own instead of the bundle's.")] = None,
    fixed: Annotated[
        list[str] | None, typer.Option(help="A profile whose dials stay: it is bounded as it is. May be repeated.")
    ] = None,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Say what cannot be certified instead of refusing.")
    ] = False,
    ledger: Annotated[Path | None, typer.Option(help="The set's ledger; by default beside the set.")] = None,
    seal: Annotated[
        Path | None, typer.Option(help="A folder for the bundle with policy and certificate in it.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A folder for the report: page, plots and figures.")] = None,
) -> None:
    """Find dials that miss at most the given share of harmful text, and certify them."""
    rows = load_rows(public) if public else []
    units, extra = _units(data, rows), [*benign_rows(rows), *(load_labelled(benign) if benign else [])]
    book = ledger or (data or SHIPPED_LABELS).with_name(NAME)
    with tempfile.TemporaryDirectory() as folder, edited(bundle, seal or Path(folder) / "bundle") as draft:
        loaded = _without_certificate(draft, policy)
        profiles = {name: list(profile.categories) for name, profile in loaded.policy.profiles.items()}
        targets = parse_targets(alpha or [], profiles, loaded.policy.default_profile, fixed or [])
        committed = _commitment(units, loaded, targets, delta, fixed or [])
        claims_for(units, targets, next_delta(book, committed), allow_uncertified)  # refuses before anything is spent
        entry = open_set(book, committed)
        claims = claims_for(units, targets, entry.delta, allow_uncertified)
        found = _found(draft, loaded, units, extra, claims, entry, allow_uncertified)
        certificate = issued(found, datetime.now(UTC).date()).model_dump(mode="json")
        _put(certificate, draft)
        _write_policy(draft.policy, certificate, out)
    plain = figures(found)
    if report is not None:
        _write_report(plain, found, report)
    for line in spoken(plain):
        typer.echo(line)
    typer.echo(f"{out}: {found.policy.digest}; opening {entry.entry} of the set")


def _units(data: Path | None, rows: Sequence[Row]) -> list[Labelled]:
    if data is None:
        if not rows:
            raise ConfigError(
                "--public: the labels that ship hold no texts; name the folder of the public sets, or --data"
            )
        return join_shipped(rows)
    units = load_labelled(data)
    refuse_twins(units)
    refuse_known(units, rows)
    return units


def _without_certificate(draft: Draft, policy: Path | None) -> Bundle:
    """The bundle as it will be scored: a certificate of what was before is not carried over."""
    if name := draft.manifest.get("certificate"):
        (draft.path / name).unlink()
        draft.manifest["certificate"] = None
    if policy is not None:
        draft.policy = dict(read_mapping(policy))
    return draft.seal()


def _commitment(
    units: Sequence[Labelled], bundle: Bundle, targets: Targets, delta: float, fixed: Sequence[str]
) -> Commitment:
    return Commitment(
        set=set_digest(units),
        units=len(units),
        models=bundle.models_digest,
        policy=bundle.policy.digest,
        code=code_digest(DECIDING),
        targets={profile: dict(row) for profile, row in targets.items()},
        delta=delta,
        fixed=sorted(fixed),
    )


def _found(
    draft: Draft,
    before: Bundle,
    units: Sequence[Labelled],
    extra: Sequence[Labelled],
    claims: Sequence[Claim],
    entry: Entry,
    allow_uncertified: bool,
) -> Found:
    """Scores everything, sets the dials in the draft, and says how it turned out."""
    evidence = settled(evidence_of(draft.path, [*units, *extra], "scoring"))
    judged = Set(units, evidence[: len(units)])
    aurocs = refuse_swapped(judged, before.policy, claims)
    dialled = find_dials(judged, before.policy, claims)
    if dialled.unreachable and not allow_uncertified:
        raise InterlockError("\n".join(f"{c.category}, source {c.source}: {UNREACHABLE}" for c in dialled.unreachable))
    reliability = reliabilities(judged, before.policy)
    if set(before.policy.profiles) - set(entry.commitment.fixed):
        draft.policy = _with_dials(draft.policy, dialled.dials, margins_comparable(reliability))
    after = draft.seal().policy
    return Found(
        judged=judged,
        before=before.policy,
        policy=after,
        dialled=dialled,
        lines=lines(judged, before.policy, after, claims, dialled),
        entry=entry,
        models=before.models_digest,
        aurocs=aurocs,
        reliability=reliability,
        benign=_benign(judged, Set(extra, evidence[len(units) :])),
    )


def _benign(judged: Set, extra: Set) -> list[Benign]:
    """By source: what readers found benign and what was drawn as such, and what only its label calls benign."""
    found: dict[str, list[Any]] = {}
    for unit, item in zip(judged.units, judged.evidence, strict=True):
        if not unit.harmful and unit.clear and unit.drawn_as != "harmful":
            found.setdefault(f"{unit.source}, read", []).append(item)
    for unit, item in zip(extra.units, extra.evidence, strict=True):
        found.setdefault(unit.source, []).append(item)
    return [Benign(source, evidence) for source, evidence in found.items()]


def _with_dials(policy: Mapping[str, Any], dials: Dials, comparable: bool) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(policy))  # YAML's aliases would let a dial set others too
    for (profile, category), dial in dials.items():
        content["profiles"][profile]["categories"][category]["release_below"] = dial
    return {**content, "margin_comparable": comparable}


def _put(certificate: Mapping[str, Any], draft: Draft) -> None:
    """Into the bundle."""
    _write_json(certificate, draft.path / CERTIFICATE)
    draft.manifest["certificate"] = CERTIFICATE
    draft.seal()


def _write_policy(policy: Mapping[str, Any], certificate: Mapping[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(policy) if out.suffix == ".json" else yaml.safe_dump(policy, sort_keys=False))
    _write_json(certificate, out.with_name(CERTIFICATE))


def _write_report(plain: Figures, found: Found, folder: Path) -> None:
    plots = save_plots(plain, folder)
    for (category, source), told in forecasts(found).items():
        if told.fits:
            path = folder / f"{plot_name(category, source)}.png"
            plots.append(plot(f"{category}, source {source}", told, path))
    _write_json(plain, folder / "figures.json")
    write_text(folder / "report.html", rendered(plain, plots))


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
