"""What a manifest may say: unknown keys, repeated names, paths and impossible maps are refused with the field's name."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import member
from interlock_server.bundle.manifest import Manifest
from interlock_server.errors import ConfigError
from interlock_server.strict import read_mapping, validate

from .samples import FILES, MEMBERS, manifest

DIGEST = "sha256:" + "0" * 64


def refused(content: dict[str, Any]) -> str:
    """What is said about a manifest that is refused."""
    with pytest.raises(ConfigError) as caught:
        validate(Manifest, content, "manifest.json")
    return str(caught.value)


def with_member(**changes: Any) -> dict[str, Any]:
    """A manifest with one more member."""
    return manifest(members=[*MEMBERS, member("omega", **{"files": {"model": "alpha.json"}, **changes})])


def test_the_sample_is_accepted():
    """The manifest that every other test changes in one place is a good one."""
    assert "test" == validate(Manifest, manifest(), "manifest.json").name


ROLES = "'model', 'tokenizer', 'config' or 'gate'"
BACKENDS = "'onnx', 'linear', 'scripted', 'pytorch' or 'triton'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (manifest(version=2), "version: there is no such setting"),
        (manifest(format=2), "format: input should be 1"),
        (manifest(members=[]), "members: list should have at least 1 item after validation, not 0"),
        (manifest(members=[*MEMBERS, MEMBERS[0]]), "members must have different names"),
        (manifest(categories=["illicit"] * 2), "categories: must not name anything twice"),
        (manifest(policy="other.yaml"), "files has no digest for other.yaml"),
        (manifest(files={}), f"files has no digest for {', '.join(sorted(FILES))}"),
        (with_member(categories=["illicit"]), "members.5: score_maps must have one map for each of the member's categories"),
        (with_member(categories=["illicit"] * 2), "members.5.categories: must not name anything twice"),
        (with_member(backend="pickle"), f"members.5.backend: input should be {BACKENDS}"),
        (with_member(runs={"provider": "cuda"}), "members.5: runs.provider is for onnx and pytorch, not for scripted"),
        (with_member(runs={"precision": "float16"}), "members.5: runs.precision is for pytorch, and for onnx with tensorrt"),
        (with_member(runs={"remote_model": "m"}), "members.5: runs.remote_model is for the backend triton, which needs it"),
        (with_member(backend="onnx"), "members.5: files must name the tokenizer"),
        (with_member(golden_tolerance=0.5), "members.5.golden_tolerance: input should be less than or equal to 0.2"),
        (with_member(reads={"views": ["canonical"]}), "members.5.reads: views must name raw, which covers the completion"),
        (with_member(colour="red"), "members.5.colour: there is no such setting"),
        (with_member(files={"weights": "alpha.json"}), f"members.5.files.weights: input should be {ROLES}"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused(content: dict[str, Any], message: str):
    """The message names the field."""
    assert f"manifest.json: {message}" == refused(content)


def test_a_member_of_an_unknown_category_is_refused():
    """A member cannot cover what the bundle does not judge."""
    maps = {"spam": {"logits": [0.0, 1.0], "llrs": [0.0, 1.0]}}
    content = with_member(categories=["spam"], score_maps=maps)

    assert "manifest.json: member omega covers unknown categories: spam" == refused(content)


@pytest.mark.parametrize(
    "name", ["../policy.yaml", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", "a\nb", "c:d", "a\x00", "a" * 101]
)
@pytest.mark.parametrize("field", ["policy", "golden"])
def test_a_path_is_no_file_name(field: str, name: str):
    """A bundle reaches nothing outside of its folder."""
    assert f"manifest.json: {field}: string should match pattern" in refused(manifest(**{field: name}))


@pytest.mark.parametrize("name", ["../alpha.json", "/alpha.json", "models/alpha.json"])
def test_a_model_is_no_path(name: str):
    """Nor does a member."""
    assert "manifest.json: members.5.files.model: string should match" in refused(with_member(files={"model": name}))


def test_a_listed_file_is_no_path():
    """Nor do the digests."""
    assert "string should match pattern" in refused(manifest(files={**dict.fromkeys(FILES, DIGEST), "../x": DIGEST}))


@pytest.mark.parametrize("digest", ["", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "G" * 64, "md5:" + "0" * 32])
def test_a_digest_is_a_sha256(digest: str):
    """In lower case, with its name before it."""
    files = {**dict.fromkeys(FILES, DIGEST), "policy.yaml": digest}

    assert "files.policy.yaml: string should match" in refused(manifest(files=files))


@pytest.mark.parametrize(
    ("knots", "message"),
    [
        ({"logits": [0.0, 0.0], "llrs": [0.0, 1.0]}, "logits must be strictly increasing"),
        ({"logits": [0.0], "llrs": [0.0]}, "a score map needs two or more knots, as many logits as llrs"),
    ],
)
def test_a_map_that_does_not_increase_is_refused(knots: dict[str, list[float]], message: str):
    """By the name of its member and category, also where the policy does not use it."""
    maps = {**MEMBERS[0]["score_maps"], "illicit": knots}

    assert f"manifest.json: members.5.score_maps.illicit: {message}" == refused(with_member(score_maps=maps))


def test_a_repeated_key_is_refused(tmp_path: Path):
    """JSON would keep the last one silently."""
    (tmp_path / "manifest.json").write_text('{"format": 1, "policy": "a.yaml", "policy": "b.yaml"}')

    with pytest.raises(ConfigError, match=r"^manifest\.json: the key 'policy' stands twice$"):
        read_mapping(tmp_path / "manifest.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 1', "null"])
def test_a_manifest_is_a_json_object(tmp_path: Path, text: str):
    """Anything else is refused by the name of the file."""
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(ConfigError, match=r"^manifest\.json: "):
        read_mapping(tmp_path / "manifest.json")


def test_a_small_number_is_read_as_json_means_it(tmp_path: Path):
    """YAML would take 1e-06 for text."""
    (tmp_path / "manifest.json").write_text(json.dumps({"value": 1e-06}))

    assert {"value": 1e-06} == read_mapping(tmp_path / "manifest.json")
