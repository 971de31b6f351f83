"""`interlock story check` as a user calls it: on the bundle that ships, and with a list of keywords in the encoder's place."""

import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from interlock_lab.story.command import STORIES, story_check
from interlock_lab.story.material import Material, load_material
from interlock_server import cli
from interlock_server.app import load_members
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.seal import seal, write_manifest
from interlock_server.bundle.stories import ClaimState
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import BundleError, ConfigError
from interlock_server.inference.scoring import score_exchange
from interlock_server.text.exchange import Exchange
from typer import Typer
from typer.testing import CliRunner, Result

STORY = """\
format = 1
[members.encoder]
goal = "Reads events."
desirable = "Events are what harms."
constraints = []
nudges = []
assumptions = []
[[members.encoder.claims]]
id = "pairs"
statement = "It tells halves of minimal pairs apart."
check = "minimal_pairs"
at_least = 0.75
impostors = ["keyword", "shuffled"]
why = "Only what happens differs."
[[members.encoder.claims]]
id = "seeds"
statement = "Another seed gives much the same."
check = "untested"
at_least = 0.9
why = "Nobody has trained it again."
"""
SAMPLE = 150


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("story") / "story.toml"
    path.write_text(STORY)
    return path


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material()


@pytest.fixture(scope="module")
def impostor(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Path:
    """The bundle that ships, but its encoder goes by a list of words."""
    path = tmp_path_factory.mktemp("impostor") / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, path)
    bundle = load_bundle(path)
    words = {word for telling in material.telling.values() for word in telling}
    (path / "encoder.json").write_text(json.dumps({"default": 0.01, "phrases": {f" {word} ": 0.99 for word in words}}))
    (path / "encoder.onnx").unlink()
    dropped = {"format", "files", "stories", "story_results", "certificate"}
    content = bundle.manifest.model_dump(mode="json", exclude=dropped)
    policy = yaml.safe_load((path / "policy.yaml").read_text())
    for profile in policy["profiles"].values():
        profile.pop("ood_alpha")
    (path / "policy.yaml").write_text(yaml.safe_dump(policy))
    for member in content["members"]:
        if member["name"] == "encoder":
            member.update(backend="scripted", files={"model": "encoder.json"})
    seal(path, content)
    encoder = next(member for member in load_members(load_bundle(path)) if member.name == "encoder")
    golden = []
    for row in bundle.golden:
        scores = dict(score_exchange(encoder, Exchange(row.prompt, row.completion)).evidence.scores)
        golden.append(row.model_copy(update={"scores": {**row.scores, "encoder": scores}}))
    (path / bundle.manifest.golden).write_text("".join(row.model_dump_json() + "\n" for row in golden))
    seal(path, content)
    return path


def run(bundle: Path, *options: object, sample: int = SAMPLE) -> Result:
    app = Typer()
    app.command()(story_check)
    return CliRunner().invoke(app, [str(bundle), "--sample", str(sample), *map(str, options)])


def test_the_encoder_that_ships_passes(story: Path, tmp_path: Path):
    """And with it its bundle, which then says so."""
    result = run(DEFAULT_BUNDLE, "--stories", story, "--out", tmp_path / "told")

    assert 0 == result.exit_code, result.output
    told = load_bundle(tmp_path / "told").stories["encoder"]
    assert [ClaimState.SUPPORTED, ClaimState.UNTESTED] == [claim.state for claim in told.claims]
    assert "1 supported, 1 untested" in result.output


def test_a_list_of_keywords_in_the_encoders_place_fails(
    impostor: Path, story: Path, tmp_path: Path, material: Material
):
    """The bundle that says so does not load. Figures are printed, and no text."""
    result = run(impostor, "--stories", story, "--out", tmp_path / "told")

    assert 1 == result.exit_code, result.output
    assert "refuted and required: encoder" in result.output
    with pytest.raises(BundleError, match=r"^member encoder: its training story is refuted: pairs: "):
        load_bundle(tmp_path / "told")
    assert [] == [pair for pair in material.pairs if pair.harmful.completion[:30] in result.output]


def test_a_bundle_without_stories_is_refused(impostor: Path):
    """There is nothing to check."""
    refusal = run(impostor).exception

    assert (ConfigError, True) == (type(refusal), "has no training stories; name a file" in str(refusal))


def test_stories_of_the_bundle_are_the_ones_that_count(impostor: Path, tmp_path: Path):
    """A check that nobody knows is an error, and not a claim that holds."""
    path = tmp_path / "bundle"
    shutil.copytree(impostor, path)
    (path / STORIES).write_text(STORY.replace("minimal_pairs", "wishful_thinking"))
    content = load_bundle(impostor).manifest.model_dump(mode="json", exclude={"format", "files"})
    write_manifest(path, {**content, "stories": STORIES})

    assert "members.encoder.claims: pairs: there is no check wishful_thinking" == str(run(path).exception)


def test_the_command_joins_in_a_group_of_its_own():
    """As `interlock story check`, beside what is there."""
    entry = EntryPoint("story.check", "interlock_lab.story.command:story_check", "interlock.commands")
    cli._join(entry, ["story", "check"], invoked=True)

    assert 0 == CliRunner().invoke(cli.app, ["story", "check", "--help"]).exit_code
    assert 0 == CliRunner().invoke(cli.app, ["bundle", "verify", "--help"]).exit_code


def test_nothing_is_overwritten(impostor: Path, tmp_path: Path):
    """As with every other command that makes a bundle."""
    assert f"--out: {tmp_path} exists" == str(run(impostor, "--out", tmp_path).exception)
