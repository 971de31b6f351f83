"""Puts claims to their checks: makes the trials, has them scored by the bundle's members and by impostors, and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from interlock_server.bundle.load import Bundle
from interlock_server.bundle.stories import WITHOUT_RUNNING, Claim, ClaimResult, TrainingStories
from interlock_server.errors import ConfigError, InterlockError

from interlock_lab.scores import evidence_of
from interlock_lab.story.checks import CHECKS, Scores, Text, Trial, outcomes, text_of
from interlock_lab.story.impostors import IMPOSTORS
from interlock_lab.story.judge import confidence_of, judged, recorded, untested
from interlock_lab.story.material import Material
from interlock_lab.story.retraining import RETRAININGS, Retraining
from interlock_lab.training.rows import Row

Asked = tuple[str, Claim]
Scored = Mapping[Text, Scores]


def checked(bundle: Bundle, stories: TrainingStories, material: Material) -> list[ClaimResult]:
    """The result of every claim, in order."""
    asked = _asked(stories)
    idle = {id(claim): why for name, claim in asked if (why := _idle(bundle, name, claim))}
    checking = _Checking(bundle, material, [item for item in asked if id(item[1]) not in idle])
    return [
        untested(name, claim, idle[id(claim)]) if id(claim) in idle else checking.result(name, claim)
        for name, claim in asked
    ]


def refuse_unknown(bundle: Bundle, stories: TrainingStories) -> None:
    """Raises ConfigError when a story speaks of a member, or a claim of a check, that there is not."""
    members = {member.name for member in bundle.manifest.members}
    for name, claim in _asked(stories):
        if name not in members:
            raise ConfigError(f"members.{name}: the bundle has no such member")
        if claim.check not in (*CHECKS, *RETRAININGS, *WITHOUT_RUNNING):
            raise ConfigError(f"members.{name}.claims: {claim.id}: there is no check {claim.check}")


def _asked(stories: TrainingStories) -> list[Asked]:
    return [(name, claim) for name, story in stories.members.items() for claim in story.claims]


def _idle(bundle: Bundle, name: str, claim: Claim) -> str:
    """Why a claim cannot be put to any check; empty if it can."""
    member = next(member for member in bundle.manifest.members if member.name == name)
    if claim.check == "untested":
        return claim.why
    if claim.of not in (None, bundle.manifest.files.get(member.files.get("model", ""))):
        return "it speaks of another model file than the bundle's"
    return "" if name in bundle.policy.members else "the policy does not ask this member"


@dataclass(frozen=True)
class _Checking:
    """One run over all claims that can be tested. Every text is scored once."""

    bundle: Bundle
    material: Material
    asked: Sequence[Asked]

    def result(self, name: str, claim: Claim) -> ClaimResult:
        if claim.check == "recorded":
            return recorded(name, claim, self._confidence)
        if claim.check in RETRAININGS:
            return self._retrained(name, claim)
        trials = self._trials[_key(claim)]
        mine = outcomes(trials, self._members.get(name, {}))
        impostors = {who: outcomes(trials, scored) for who, scored in self._impostors.items()}
        return judged(name, claim, mine, impostors, self._confidence, _unread(trials, mine))

    def _retrained(self, name: str, claim: Claim) -> ClaimResult:
        mine = self._retraining.after(claim.check, claim.parameters)
        others = {"shuffled": self._retraining.shuffled.still_caught}
        return judged(name, claim, mine.still_caught, others, self._confidence, mine.kind)

    @cached_property
    def _confidence(self) -> float:
        return confidence_of(len(self.asked))

    @cached_property
    def _retraining(self) -> Retraining:
        return Retraining(self.material)

    @cached_property
    def _trials(self) -> dict[str, list[Trial]]:
        claims = {_key(claim): claim for _, claim in self.asked if claim.check in CHECKS}
        return {key: list(CHECKS[claim.check](self.material, claim.parameters)) for key, claim in claims.items()}

    @cached_property
    def _rows(self) -> list[Row]:
        """All rows of all trials, each text once."""
        return list({text_of(row): row for trials in self._trials.values() for t in trials for row in t.rows}.values())

    @cached_property
    def _members(self) -> dict[str, dict[Text, Scores]]:
        """Member -> text -> scores. A text that is refused before anybody is asked has none."""
        found: dict[str, dict[Text, Scores]] = {}
        evidence = evidence_of(self.bundle.path, self._rows, "scoring claims")
        for number, (row, item) in enumerate(zip(self._rows, evidence, strict=True)):
            for member in () if item.alarms else item.members:
                if member.missing is not None:
                    raise InterlockError(f"text {number}: member {member.member} is missing: {member.missing}")
                found.setdefault(member.member, {})[text_of(row)] = member.scores
        return found

    @cached_property
    def _impostors(self) -> dict[str, Scored]:
        texts = [text_of(row) for row in self._rows]
        return {
            name: dict(zip(texts, build(self.material)(self._rows), strict=True)) for name, build in IMPOSTORS.items()
        }


def _key(claim: Claim) -> str:
    return f"{claim.check} {sorted(claim.parameters.items())}"


def _unread(trials: Sequence[Trial], outcomes: Sequence[bool]) -> str:
    left_out = len(trials) - len(outcomes)
    return f"{left_out} with texts that nobody was asked about are left out" if left_out else ""
