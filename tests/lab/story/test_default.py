"""The stories of the bundle that ships: they read, they name checks that exist, and they speak of its own members."""

from pathlib import Path

import interlock_lab.story
import pytest
from interlock_lab.story.checks import CHECKS
from interlock_lab.story.cues import CUES
from interlock_lab.story.judge import judged, untested
from interlock_lab.story.page import rendered
from interlock_lab.story.retraining import RETRAININGS
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.stories import WITHOUT_RUNNING, Claim, ClaimResult, ClaimState, StoryResults, read_stories
from interlock_server.bundles import DEFAULT_BUNDLE

STORIES = read_stories(Path(interlock_lab.story.__file__).parent / "default.toml")
CLAIMS = [(name, claim) for name, story in STORIES.members.items() for claim in story.claims]


def found(results: list[ClaimResult]) -> StoryResults:
    digest = "sha256:" + "0" * 64
    return StoryResults(format=1, models=digest, stories=digest, date="2026-11-21", confidence=0.99, claims=results)


def test_every_member_that_ships_has_a_story():
    """And nobody else."""
    assert {member.name for member in load_bundle(DEFAULT_BUNDLE).manifest.members} == set(STORIES.members)


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=lambda part: part.id if isinstance(part, Claim) else part)
def test_every_claim_names_a_check(name: str, claim: Claim):
    """And a cue that there is."""
    assert claim.check in {*CHECKS, *RETRAININGS, *WITHOUT_RUNNING}
    assert claim.parameters.get("cue", "length") in CUES


def test_a_claim_of_a_file_speaks_of_the_file_that_ships():
    """Or it would be untested for ever."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    models = {member.name: bundle.manifest.files[member.files["model"]] for member in bundle.manifest.members}

    assert [] == [(name, claim.id) for name, claim in CLAIMS if claim.of not in (None, models[name])]


def test_the_page_says_first_what_fell_short():
    """And every claim once."""
    results = [untested(name, claim, "too dear") for name, claim in CLAIMS]
    failing = {"keyword": [False] * 90, "shuffled": [False] * 90}
    results[1] = judged("encoder", CLAIMS[1][1], [False] * 90, failing, 0.99)
    page = rendered(STORIES, found(results))

    assert f"{len(CLAIMS)} claims that could refute it: 1 refuted, {len(CLAIMS) - 1} untested." in page
    encoder = [line for line in page.split("### sentences")[0].splitlines() if line.startswith("| ")][1:]
    assert CLAIMS[1][1].statement in encoder[0]
    assert len(CLAIMS) == page.count("| untested: too dear |") + page.count("| refuted |")


def test_the_page_says_so_where_a_share_is_below_its_claim():
    """Not to be refuted is not to be confirmed."""
    name, claim = CLAIMS[0]
    results = [untested(name, claim, "too dear") for name, claim in CLAIMS]
    mine = [n < 100 * claim.at_least - 1 for n in range(100)]
    results[0] = judged(name, claim, mine, {}, 0.99, "as it was before").model_copy(
        update={"state": ClaimState.SUPPORTED}
    )

    assert "| not refuted, though below: as it was before |" in rendered(STORIES, found(results))
