"""Fitting the panel of any bundle: what becomes required, what is kept, and what data is too little."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fakes import CATEGORIES, IDENTITY, manifest_content, member, script, write_bundle
from interlock_lab.add_member import add_member
from interlock_lab.fit_panel import CategoryFit
from interlock_lab.panel import category_rules
from interlock_lab.refit import fit_panel
from interlock_server.app import running_filter
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.seal import seal
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.config import Config
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from typer import Typer
from typer.testing import CliRunner, Result

from .checkpoints import rows, save_onnx, write_rows

MEMBERS = [member(name) for name in ("alpha", "beta", "gamma")]
# What the scripted members make of single words: right on the whole, and not always.
PHRASES = {"stabbed": 0.95, "vermin": 0.9, "green": 0.2, "letter": 0.1, "walked": 0.05}
VIOLENT = ("violence_injury", "illicit", "self_harm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of scripted members and labelled exchanges."""
    path = tmp_path_factory.mktemp("refit")
    make_bundle(path / "bundle")
    write_rows(path / "rows.jsonl", rows(40, "stabbed", *VIOLENT), rows(40, "vermin", "hate_harassment"), rows(80))
    return path


def make_bundle(path: Path, **policy: Any) -> None:
    write_bundle(path, MEMBERS, **policy)
    for entry in MEMBERS:
        script(path, entry["name"], phrases=PHRASES)
    seal(path, manifest_content(MEMBERS))


def run(bundle: Path, data: Path, *arguments: object) -> Result:
    app = Typer()
    app.command()(fit_panel)
    return CliRunner().invoke(app, ["--bundle", str(bundle), "--data", str(data), *map(str, arguments)])


def screened(path: Path, completion: str) -> Screening:
    """Through the service's own filter, with the bundle's own policy."""

    async def screen(bundle: Bundle) -> Screening:
        async with running_filter(Config(), bundle, Metrics(), budget_s=60) as safety_filter:
            return await safety_filter.screen(Request(b"", completion.encode()))

    return asyncio.run(screen(load_bundle(path)))


def test_an_added_member_decides_after_the_fit(folder: Path, tmp_path: Path) -> None:
    """From a published folder to a verdict: a word that only the new member knows is withheld, and it is the one who says so."""
    source = save_onnx(tmp_path / "model", ((1, 0), (0, 1)), labels=["violent", "hateful"])
    added = tmp_path / "added"
    add_member(
        source, folder / "bundle", "added", label=["violent=violence_injury", "hateful=hate_harassment"],
        examples=folder / "rows.jsonl", out=added,
    )  # fmt: skip
    result = run(added, folder / "rows.jsonl", "--out", tmp_path / "fitted")

    assert 0 == result.exit_code, result.exception
    assert not load_bundle(tmp_path / "fitted").policy.shadow
    benign, harmful = (screened(tmp_path / "fitted", f"she poured tea {word}") for word in ("quiet", "clubbed"))
    assert (True, False) == (benign.verdict.released, harmful.verdict.released)
    dissent = {item.category: item.dissenters for item in harmful.verdict.categories}
    assert ("added",) == tuple(dissent["violence_injury"])
    assert 0.9 < next(m.scores["violence_injury"] for m in harmful.evidence.members if m.member == "added")


def test_a_shadow_alone_changes_no_verdict(folder: Path, tmp_path: Path) -> None:
    """The same word is released while the new member, which knows it, is a shadow."""
    source = save_onnx(tmp_path / "model", ((1, 0), (0, 1)), labels=["violent", "hateful"])
    make_bundle(tmp_path / "bundle")
    add_member(
        source, tmp_path / "bundle", "added", label=["violent=violence_injury", "hateful=hate_harassment"],
        examples=folder / "rows.jsonl",
    )  # fmt: skip

    assert ("added",) == load_bundle(tmp_path / "bundle").policy.shadow
    assert screened(tmp_path / "bundle", "she poured tea clubbed").verdict.released


def test_every_member_becomes_required_where_it_covers(folder: Path, tmp_path: Path) -> None:
    """Also one that the policy did not know."""
    members = [*MEMBERS, member("hateful", categories=["hate_harassment"], score_maps={"hate_harassment": IDENTITY})]
    make_bundle(tmp_path / "bundle")
    script(tmp_path / "bundle", "hateful", phrases=PHRASES)
    golden = [json.loads(line) for line in (tmp_path / "bundle" / "golden.jsonl").read_text().splitlines()]
    for row in golden:
        row["scores"]["hateful"] = {"hate_harassment": 0.01}
    (tmp_path / "bundle" / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in golden))
    seal(tmp_path / "bundle", manifest_content(members))
    assert 0 == run(tmp_path / "bundle", folder / "rows.jsonl").exit_code

    rules = load_bundle(tmp_path / "bundle").policy.profiles["balanced"].categories
    assert {"alpha", "beta", "gamma", "hateful"} == set(rules["hate_harassment"].members)
    assert {"alpha", "beta", "gamma"} == set(rules["illicit"].members)


def test_what_is_not_fitted_stays(folder: Path, tmp_path: Path) -> None:
    """Budgets, limits and actions are the operator's; that margins compare was a property of the old fit."""
    kept = {"latency_budget_ms": 777, "limits": {"prompt_bytes_max": 99}, "actions": {"HARMFUL": "ESCALATE"}}
    make_bundle(tmp_path / "bundle", **kept, margin_comparable=True)
    run(tmp_path / "bundle", folder / "rows.jsonl")
    policy = yaml.safe_load((tmp_path / "bundle" / "policy.yaml").read_text())

    assert kept == {key: policy[key] for key in kept}
    assert not load_bundle(tmp_path / "bundle").policy.margin_comparable


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_dial_withholds_its_share_of_ordinary_text(share: float) -> None:
    """Not of look-alikes, which may score higher."""
    panel_scores = np.concatenate([np.arange(1.0, 101.0), np.full(50, 1_000.0)])
    plain = np.arange(150) < 100
    rules = category_rules(CategoryFit({}, panel_scores), plain, np.ones(150, dtype=bool), share)

    assert share == pytest.approx(np.mean(panel_scores[plain] >= rules["release_below"]), abs=0.01)
    assert 1_000.0 == rules["harmful_at"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([(29, "stabbed", *CATEGORIES), (80,)], "violence_injury has 29 harmful and 80 benign examples; 30 of each are needed"),
        ([(40, "stabbed", *CATEGORIES), (29,)], "self_harm has 40 harmful and 29 benign examples"),
        ([(40, "stabbed", "illicit"), (80,)], "hate_harassment has 0 harmful and 120 benign examples"),
    ],
)  # fmt: skip
def test_too_little_data_is_refused(folder: Path, tmp_path: Path, groups: list[Any], message: str) -> None:
    """Naming the category and how much there is."""
    data = write_rows(tmp_path / "few.jsonl", *(rows(*group) for group in groups))
    result = run(folder / "bundle", data, "--out", tmp_path / "out")

    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_line_without_scores_is_named(folder: Path, tmp_path: Path) -> None:
    """By its number and the cause; its text is not shown."""
    unread = {"completion": "Текст на другом языке", "labels": dict.fromkeys(CATEGORIES, 0)}
    data = write_rows(tmp_path / "rows.jsonl", rows(40, "stabbed", *CATEGORIES), rows(80), iter([unread]))
    result = run(folder / "bundle", data, "--out", tmp_path / "out")

    assert "--data: line 121 gets no scores from member alpha: OUT_OF_DISTRIBUTION" == str(result.exception)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ("other=0.1", "profile balanced has no share"),
        ("balanced", "is not PROFILE=SHARE"),
        ("balanced=1", "between 0 and 1"),
    ],
)
def test_a_share_is_said_for_every_profile(folder: Path, tmp_path: Path, share: str, message: str) -> None:
    """No profile keeps a dial that was set for other scores."""
    result = run(folder / "bundle", folder / "rows.jsonl", "--out", tmp_path / "out", "--benign-share", share)

    assert message in str(result.exception)


def test_the_bundle_that_ships_is_not_replaced(folder: Path) -> None:
    """It is pinned by its digest."""
    assert "the bundle that ships" in str(run(DEFAULT_BUNDLE, folder / "rows.jsonl").exception)


def test_examples_are_read_strictly(folder: Path, tmp_path: Path) -> None:
    """A wrong line is named and not quoted."""
    for line, message in (
        ("xyzzy", "line 1 is not JSON"),
        ('{"completion": "xyzzy"}', "line 1: labels: field required"),
    ):
        (tmp_path / "rows.jsonl").write_text(line + "\n")
        error = str(run(folder / "bundle", tmp_path / "rows.jsonl", "--out", tmp_path / "out").exception)
        assert message in error
        assert "xyzzy" not in error
