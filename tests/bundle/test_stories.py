"""Training stories in a bundle: what may be written, what results hold, and that a refuted required member does not load."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import manifest_content, member, policy_content, write_bundle
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.app import load_members
from interlock_server.bundle.load import Bundle, file_digest, load_bundle
from interlock_server.bundle.seal import write_manifest
from interlock_server.bundle.stories import (
    ClaimResult,
    ClaimState,
    Measured,
    StoryResults,
    TrainingStories,
    read_stories,
)
from interlock_server.errors import BundleError, ConfigError
from interlock_server.reload.generation import digests_of
from interlock_server.transport.translate import to_digests, to_ensemble

STORY = """\
format = 1
[members.alpha]
goal = "Reads events."
desirable = "Events are what harms."
constraints = ["It has no state."]
nudges = ["Minimal pairs."]
assumptions = []
[[members.alpha.claims]]
id = "pairs"
statement = "It tells them apart."
check = "minimal_pairs"
at_least = 0.75
impostors = ["keyword"]
why = "Only what happens differs."
"""
NAMES = ["alpha", "beta", "gamma"]
REFUTED = r"^member alpha: its training story is refuted: pairs: 40% of 90$"


def told(path: Path, state: ClaimState | None = None, shadow: bool = False, **changes: Any) -> Path:
    """A sealed bundle whose alpha has the story; with results when a state is given."""
    write_bundle(path)
    if shadow:
        (path / "policy.yaml").write_text(yaml.safe_dump(policy_content(["beta", "gamma"], shadow=["alpha"])))
    (path / "story.toml").write_text(STORY)
    content = {**manifest_content([member(name) for name in NAMES]), "stories": "story.toml"}
    write_manifest(path, content)
    if state is not None:
        (path / "stories.json").write_text(results(load_bundle(path), state, **changes).model_dump_json())
        write_manifest(path, {**content, "story_results": "stories.json"})
    return path


def results(bundle: Bundle, state: ClaimState, **changes: Any) -> StoryResults:
    measured = Measured(n=90, hits=36, low=0.3, high=0.5)
    found = ClaimResult(member="alpha", claim="pairs", state=state, measured=measured, detail="40% of 90")
    stated = {
        "format": 1, "models": bundle.models_digest, "stories": file_digest(bundle.path / "story.toml"),
        "date": "2026-11-21", "confidence": 0.99, "claims": [found], **changes,
    }  # fmt: skip
    return StoryResults(**stated)


def claim(path: Path) -> tuple[ClaimState, str]:
    """How alpha's only claim stands."""
    (status,) = load_bundle(path).stories["alpha"].claims
    return status.state, status.detail


def test_a_bundle_without_stories_has_none(tmp_path: Path):
    """Nothing is claimed then."""
    write_bundle(tmp_path)

    assert {} == load_bundle(tmp_path).stories


def test_a_claim_that_nobody_checked_is_untested(tmp_path: Path):
    """Having a story is no evidence for it."""
    assert (ClaimState.UNTESTED, "no check has run") == claim(told(tmp_path))


@pytest.mark.parametrize("state", sorted(set(ClaimState) - {ClaimState.REFUTED}))
def test_a_result_is_the_state_of_its_claim(tmp_path: Path, state: ClaimState):
    """With the figures behind it."""
    assert (state, "40% of 90") == claim(told(tmp_path, state))


def test_a_refuted_required_member_does_not_load(tmp_path: Path):
    """Nobody may rely on what was shown to be otherwise; member and claim are named."""
    with pytest.raises(BundleError, match=REFUTED):
        load_bundle(told(tmp_path, ClaimState.REFUTED))


def test_a_refuted_shadow_loads(tmp_path: Path):
    """It decides nothing."""
    assert ClaimState.REFUTED is claim(told(tmp_path, ClaimState.REFUTED, shadow=True))[0]


def test_results_of_other_models_say_nothing(tmp_path: Path):
    """Neither for a member nor against it."""
    path = told(tmp_path, ClaimState.REFUTED, models="sha256:" + "0" * 64)

    assert (ClaimState.UNTESTED, "the check of 2026-11-21 was of other models") == claim(path)


def test_results_of_another_story_say_nothing(tmp_path: Path):
    """A criterion that was moved afterwards is met by nothing that was measured before."""
    path = told(tmp_path, ClaimState.SUPPORTED, stories="sha256:" + "0" * 64)

    assert (ClaimState.UNTESTED, "the check of 2026-11-21 was of another story") == claim(path)


def test_a_claim_that_was_left_out_is_untested(tmp_path: Path):
    """Silence is no support."""
    path = told(tmp_path, ClaimState.SUPPORTED, claims=[])

    assert (ClaimState.UNTESTED, "the check of 2026-11-21 left it out") == claim(path)


def test_models_are_bound_to_members_and_to_nothing_else(tmp_path: Path):
    """Stories and results are in the bundle, and so cannot be part of what they are bound to."""
    write_bundle(tmp_path / "one")
    told(tmp_path / "two", ClaimState.SUPPORTED)
    write_bundle(tmp_path / "three", [member("alpha", golden_tolerance=0.1), member("beta"), member("gamma")])
    one, two, three = (load_bundle(tmp_path / name).models_digest for name in ("one", "two", "three"))

    assert [True, False] == [one == two, one == three]


def test_get_ensemble_tells_the_story_and_how_it_stands(tmp_path: Path):
    """Members without one say nothing."""
    bundle = load_bundle(told(tmp_path, ClaimState.VOID))
    alpha, beta, _ = to_ensemble(bundle, load_members(bundle), to_digests(digests_of(bundle))).members

    assert (
        "Goal: Reads events.\nDesirable because: Events are what harms.\nConstraints: It has no state.\nNudges: "
        in (alpha.training_story)
    )
    assert [
        pb.TrainingClaim(
            id="pairs", statement="It tells them apart.", state=pb.TRAINING_CLAIM_STATE_VOID, detail="40% of 90"
        )
    ] == list(alpha.claims)
    assert ("", []) == (beta.training_story, list(beta.claims))


def test_a_story_of_nobody_is_refused(tmp_path: Path):
    """A misspelt name would leave a member without its claims."""
    path = told(tmp_path)
    (path / "story.toml").write_text(STORY.replace("alpha", "alfa"))
    write_manifest(path, {**manifest_content([member(name) for name in NAMES]), "stories": "story.toml"})

    with pytest.raises(ConfigError, match=r"^story\.toml: members: the bundle has no alfa$"):
        load_bundle(path)


def test_a_named_file_must_be_in_the_bundle(tmp_path: Path):
    """As any other."""
    write_bundle(tmp_path)

    with pytest.raises(ConfigError, match=r"files has no digest for story\.toml"):
        write_manifest(tmp_path, {**manifest_content([member(name) for name in NAMES]), "stories": "story.toml"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('impostors = ["keyword"]', "", "impostors must name at least one that the check has to refute"),
        ("at_least = 0.75", "at_least = 1.5", "claims.0.at_least: input should be less than or equal to 1"),
        ('why = "Only what happens differs."', "", "claims.0.why: field required"),
        ("at_least = 0.75", "at_most = 0.75", "claims.0.at_most: there is no such setting"),
        ('check = "minimal_pairs"', 'check = "recorded"', "what was recorded needs n, hits and date"),
        ("format = 1", "format 1", "Expected '='"),
        (STORY[STORY.index("[[") :], STORY[STORY.index("[[") :] * 2, "claims must have different ids"),
    ],
)
def test_a_story_that_could_not_be_refuted_is_refused(tmp_path: Path, old: str, new: str, message: str):
    """By file and field."""
    path = tmp_path / "story.toml"
    path.write_text(STORY.replace(old, new))

    with pytest.raises(ConfigError, match=r"^story\.toml: ") as caught:
        read_stories(path)

    assert message in str(caught.value)


def test_one_claim_has_one_result(tmp_path: Path):
    """Of two, a reader would choose."""
    bundle = load_bundle(told(tmp_path))
    one = results(bundle, ClaimState.REFUTED).claims

    with pytest.raises(ValueError, match="must have one result each"):
        results(bundle, ClaimState.SUPPORTED, claims=one * 2)


def test_a_story_is_read_as_it_is_written(tmp_path: Path):
    """Nothing is added."""
    path = tmp_path / "story.toml"
    path.write_text(STORY)

    assert [("alpha", ["pairs"])] == [
        (name, [claim.id for claim in story.claims]) for name, story in read_stories(path).members.items()
    ]
    assert isinstance(read_stories(path), TrainingStories)
