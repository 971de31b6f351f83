"""Training stories: what each member is meant to learn, why, and what has become of the claims that could refute that.

People write training_story.toml; `interlock story check` writes stories.json. Results hold for the models and the stories
that they were made with: for any others, every claim is UNTESTED.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from interlock_server.bundle.manifest import Digest, Manifest, Name
from interlock_server.errors import BundleError, ConfigError
from interlock_server.strict import Settings, read_mapping, validate

Sentence = Annotated[str, Field(min_length=1, max_length=2_000)]
Sentences = Annotated[list[Sentence], Field(max_length=50)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Impostor = Literal["keyword", "shuffled"]
WITHOUT_RUNNING = ("recorded", "untested")
"""Checks that run nothing: numbers of an earlier measurement, and what nobody has measured."""


class ClaimState(StrEnum):
    """What has become of a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    UNTESTED = "UNTESTED"
    VOID = "VOID"
    RECORDED = "RECORDED"


class Claim(Settings):
    """What would have to be seen if the story were true: a share of cases, and the least that it may be."""

    id: Name
    statement: Sentence
    check: Name
    parameters: dict[Name, int | float | str] = {}
    at_least: Share
    """The claim is refuted when the share's interval lies below this."""
    why: Sentence
    of: Digest | None = None
    """The model file that the claim is about, where it speaks of one file or of its training; untested for any other."""
    impostors: list[Impostor] = []
    """Models without the mechanism, which the check must refute too, or it shows nothing and the claim is void."""

    @model_validator(mode="after")
    def _falsifiable(self) -> "Claim":
        if self.check not in WITHOUT_RUNNING and not self.impostors:
            raise ValueError("impostors must name at least one that the check has to refute")
        if self.check == "recorded" and (self.of is None or not {"n", "hits", "date"} <= set(self.parameters)):
            raise ValueError("what was recorded needs n, hits and date in its parameters, and of")
        return self


class Story(Settings):
    """Of one member."""

    goal: Sentence
    """The mechanism: what evidence it may use, and how."""
    desirable: Sentence
    constraints: Sentences
    """What must hold of whatever training finds, by construction."""
    nudges: Sentences
    """What makes training more likely to find the mechanism than another one."""
    assumptions: Sentences
    revisions: Sentences = []
    """What was claimed before, and was refuted."""
    claims: Annotated[list[Claim], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _different(self) -> "Story":
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) != len(ids):
            raise ValueError("claims must have different ids")
        return self

    @property
    def text(self) -> str:
        """What GetEnsemble says of it; the claims stand beside it."""
        parts = {"Constraints": self.constraints, "Nudges": self.nudges, "Assumptions": self.assumptions}
        rest = (f"{title}: {' '.join(said)}" for title, said in parts.items() if said)
        return "\n".join([f"Goal: {self.goal}", f"Desirable because: {self.desirable}", *rest])


class TrainingStories(Settings):
    """What training_story.toml may say: one table per member."""

    format: Literal[1]
    members: dict[Name, Story]


class Measured(Settings):
    """A share of cases, of which no two are of one cluster, with its exact interval."""

    n: Count
    hits: Count
    low: Share
    high: Share


class ImpostorResult(Settings):
    """What the same check made of a model without the mechanism."""

    name: Impostor
    measured: Measured
    refuted: bool


class ClaimResult(Settings):
    """What a check has found."""

    member: Name
    claim: Name
    state: Annotated[ClaimState, Field(strict=False)]
    measured: Measured | None = None
    impostors: list[ImpostorResult] = []
    detail: Sentence
    """All of it in words."""
    note: Annotated[str, Field(max_length=2_000)] = ""
    """What the figures do not say."""


class StoryResults(Settings):
    """What stories.json may say. `models` and `stories` are the digests of what was checked."""

    format: Literal[1]
    models: Digest
    stories: Digest
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    confidence: Share
    claims: list[ClaimResult]

    @model_validator(mode="after")
    def _once_each(self) -> "StoryResults":
        claims = [(result.member, result.claim) for result in self.claims]
        if len(set(claims)) != len(claims):
            raise ValueError("claims must have one result each")
        return self


@dataclass(frozen=True)
class ClaimStatus:
    """A claim with its state."""

    claim: Claim
    state: ClaimState
    detail: str


@dataclass(frozen=True)
class MemberStory:
    """The story of one member, and how it stands."""

    story: Story
    claims: tuple[ClaimStatus, ...]


def read_stories(path: Path) -> TrainingStories:
    """The stories in a TOML file; raises ConfigError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    return validate(TrainingStories, content, path.name)


def read_results(path: Path) -> StoryResults:
    """What a check has written; raises ConfigError."""
    return validate(StoryResults, read_mapping(path), path.name)


def load_stories(folder: Path, manifest: Manifest, models: str) -> Mapping[str, MemberStory]:
    """Member -> its story with the state of each claim, for the models with that digest; raises ConfigError."""
    if manifest.stories is None:
        return {}
    stories = read_stories(folder / manifest.stories)
    if unknown := sorted(set(stories.members) - {member.name for member in manifest.members}):
        raise ConfigError(f"{manifest.stories}: members: the bundle has no {', '.join(unknown)}")
    found, silence = _results(folder, manifest, models)
    return {
        name: MemberStory(story, tuple(_status(name, claim, found, silence) for claim in story.claims))
        for name, story in stories.members.items()
    }


def refuse_refuted(stories: Mapping[str, MemberStory], required: Iterable[str]) -> None:
    """Raises BundleError when a member that releases depend on was shown not to be what its story says."""
    for name in required:
        refuted = [item for item in stories[name].claims if item.state is ClaimState.REFUTED] if name in stories else []
        if refuted:
            said = "; ".join(f"{item.claim.id}: {item.detail}" for item in refuted)
            raise BundleError(f"member {name}: its training story is refuted: {said}")


def _results(folder: Path, manifest: Manifest, models: str) -> tuple[Sequence[ClaimResult], str]:
    """What holds of the last check, and what is to be said of a claim that it does not speak of."""
    if manifest.story_results is None or manifest.stories is None:
        return (), "no check has run"
    results = read_results(folder / manifest.story_results)
    if results.models != models:
        return (), f"the check of {results.date} was of other models"
    if results.stories != manifest.files[manifest.stories]:
        return (), f"the check of {results.date} was of another story"
    return results.claims, f"the check of {results.date} left it out"


def _status(member: str, claim: Claim, results: Sequence[ClaimResult], silence: str) -> ClaimStatus:
    for result in results:
        if (result.member, result.claim) == (member, claim.id):
            return ClaimStatus(claim, result.state, result.detail)
    return ClaimStatus(claim, ClaimState.UNTESTED, silence)
