"""Policy files: one bad file per mistake, each with its exact message, and good ones that load and can release."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import policy_content
from interlock_server.bundle.manifest import Manifest
from interlock_server.bundle.policy_file import load_policy
from interlock_server.decision.policy import Limits, Policy
from interlock_server.decision.verdict import Action, Reason
from interlock_server.errors import ConfigError

from .samples import MANIFEST, MEMBERS, STEEPER, manifest

POLICIES = Path(__file__).parents[1] / "policies"
BAD = sorted((POLICIES / "bad").iterdir())
GOOD = sorted((POLICIES / "good").iterdir())


def load(folder: Path, content: dict[str, Any], against: Manifest = MANIFEST, comment: str = "") -> Policy:
    path = folder / "policy.yaml"
    path.write_text(comment + yaml.safe_dump(content))
    return load_policy(path, against)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_mistake_has_its_message(path: Path):
    """The first line of each bad file says what its reader is told: the file, the field and what is wrong."""
    expected = path.read_bytes().splitlines()[0].decode().removeprefix("# error: ")

    with pytest.raises(ConfigError) as caught:
        load_policy(path, MANIFEST)

    assert expected == str(caught.value)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_loads(path: Path):
    """The twins of the bad files."""
    assert "example" == load_policy(path, MANIFEST).name


def test_a_file_that_is_not_there_has_a_message(tmp_path: Path):
    """No stack trace for a wrong path."""
    with pytest.raises(ConfigError, match=r"^absent\.yaml: cannot be read: No such file or directory$"):
        load_policy(tmp_path / "absent.yaml", MANIFEST)


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    """Two wrong fields are two lines."""
    content = policy_content(["alpha", "beta"], latency_budget_ms=0, certificate="maybe")

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, content)

    assert ["policy.yaml: latency_budget_ms", "policy.yaml: certificate"] == [
        ": ".join(line.split(": ")[:2]) for line in str(caught.value).splitlines()
    ]


def test_what_is_not_said_has_a_default():
    """The least that a policy must say, and what that means."""
    policy = load_policy(POLICIES / "good" / "minimal.yaml", MANIFEST)

    assert (2_000, False, False, {}, (), Limits()) == (
        policy.latency_budget_ms,
        policy.certificate_required,
        policy.margin_comparable,
        policy.actions,
        policy.shadow,
        policy.limits,
    )


def test_everything_that_is_said_counts():
    """No setting of the file is lost on the way to the policy."""
    policy = load_policy(POLICIES / "good" / "everything.yaml", MANIFEST)

    assert ("strict", 500, True, True, ("gamma",)) == (
        policy.default_profile,
        policy.latency_budget_ms,
        policy.certificate_required,
        policy.margin_comparable,
        policy.shadow,
    )
    assert {Reason.HARMFUL: Action.ESCALATE, Reason.MEMBER_TIMED_OUT: Action.REGENERATE} == policy.actions
    assert Limits(1000, 2000) == policy.limits


def test_profiles_keep_their_numbers():
    """Dials, thresholds, tolerance and gate, as they were written."""
    policy = load_policy(POLICIES / "good" / "everything.yaml", MANIFEST)
    strict, loose = policy.profiles["strict"], policy.profiles["loose"]
    beta = strict.categories["hate_harassment"].members["beta"]

    assert ((0.1, 0.01), (0.0, None)) == ((strict.tolerance, strict.ood_alpha), (loose.tolerance, loose.ood_alpha))
    assert (0.0, 3.0, 0.001) == (beta.weight, beta.offset, beta.clear_below)


def test_score_maps_come_from_the_manifest():
    """A policy is bound to the maps of the bundle that it is loaded with."""
    policy = load_policy(POLICIES / "good" / "everything.yaml", MANIFEST)
    hateful = policy.profiles["strict"].categories["hate_harassment"].members["hateful"]

    assert ((-2.0, 2.0), (-1.0, 3.0)) == (hateful.score_map.logits, hateful.score_map.llrs)


def test_a_policy_knows_the_kinds_of_all_members():
    """Also of those that it does not require."""
    policy = load_policy(POLICIES / "good" / "minimal.yaml", MANIFEST)

    assert {entry["name"]: entry["kind"] for entry in MEMBERS} == policy.kinds


def test_a_comment_does_not_change_the_digest(tmp_path: Path):
    """Nor do the order of keys and the way in which a number is written."""
    plain = policy_content(["alpha", "beta"])
    reordered = dict(reversed(policy_content(["beta", "alpha"], latency_budget_ms=2000).items()))

    assert load(tmp_path, plain).digest == load(tmp_path, plain, comment="# a word\n").digest
    assert load(tmp_path, plain).digest == load(tmp_path, reordered).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"latency_budget_ms": 1_999},
        {"certificate": "require"},
        {"shadow": ["gamma"]},
        {"actions": {"HARMFUL": "ESCALATE"}},
        {"limits": {"completion_bytes_max": 1}},
        {"margin_comparable": True},
    ],
)
def test_any_setting_changes_the_digest(tmp_path: Path, changes: dict[str, Any]):
    """Two policies that can act differently never share a digest."""
    members = ["alpha", "beta"]

    assert load(tmp_path, policy_content(members)).digest != load(tmp_path, policy_content(members, **changes)).digest


@pytest.mark.parametrize("key", ["release_below", "harmful_at"])
def test_a_dial_changes_the_digest(tmp_path: Path, key: str):
    """By however little."""
    plain, moved = (yaml.safe_load(yaml.safe_dump(policy_content(["alpha", "beta"]))) for _ in range(2))
    moved["profiles"]["balanced"]["categories"]["illicit"][key] += 1e-9

    assert load(tmp_path, plain).digest != load(tmp_path, moved).digest


def test_a_score_map_changes_the_digest(tmp_path: Path):
    """The same thresholds over other evidence are another policy."""
    members = [{**entry, "score_maps": STEEPER} if entry["name"] == "beta" else entry for entry in MEMBERS]
    steeper = Manifest.model_validate(manifest(members=members))
    content = policy_content(["alpha", "beta"])

    assert load(tmp_path, content).digest != load(tmp_path, content, steeper).digest


def test_a_digest_looks_like_one(tmp_path: Path):
    """The same form as for files, so that tools can tell which hash it is."""
    digest = load(tmp_path, policy_content(["alpha", "beta"])).digest

    assert ("sha256:", 71) == (digest[:7], len(digest))
