"""The section of docs/ensemble.md on training stories: what a bundle states of them, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from interlock_server.bundle.load import Bundle
from interlock_server.bundle.stories import (
    Claim,
    ClaimResult,
    ClaimState,
    ImpostorResult,
    Measured,
    Story,
    StoryResults,
    TrainingStories,
    read_results,
    read_stories,
)

WORST_FIRST = (
    ClaimState.REFUTED,
    ClaimState.VOID,
    ClaimState.UNTESTED,
    ClaimState.RECORDED,
    ClaimState.SUPPORTED,
)

INTRODUCTION = """\
What each member is meant to learn, and {claims} claims that could refute it: {total}. Checked on {date};
all intervals hold together at {confidence:.0%} (Bonferroni, exact, one case per cluster). A claim is refuted when its
interval lies below what it claims. Each check is also run on impostors, one that adds up telling words and one that was
trained on shuffled labels: a check that does not refute those it names shows nothing, and its claim is void. No check
can prove a story."""


def section(bundle: Bundle) -> str:
    """The section on a bundle that has stories and results; empty for any other."""
    stories, results = bundle.manifest.stories, bundle.manifest.story_results
    if stories is None or results is None:
        return ""
    return rendered(read_stories(bundle.path / stories), read_results(bundle.path / results))


def rendered(stories: TrainingStories, results: StoryResults) -> str:
    """What fell short first, then each member's story with its claims."""
    counts = Counter(result.state for result in results.claims)
    total = ", ".join(f"{counts[state]} {state.lower()}" for state in WORST_FIRST if counts[state])
    lines = [
        "## Training stories",
        "",
        INTRODUCTION.format(claims=len(results.claims), total=total, date=results.date, confidence=results.confidence),
    ]
    for member, story in stories.members.items():
        found = {result.claim: result for result in results.claims if result.member == member}
        lines += [
            "",
            f"### {member}",
            "",
            *_prose(story),
            "",
            *_table((claim, found[claim.id]) for claim in story.claims),
        ]
    return "\n".join([*lines, ""])


def _prose(story: Story) -> list[str]:
    parts = {
        "Constraints": story.constraints,
        "Nudges": story.nudges,
        "Assumptions": story.assumptions,
        "Claimed before, and refuted": story.revisions,
    }
    lines = [f"*Goal.* {story.goal}", "", f"*Desirable because.* {story.desirable}"]
    for title, said in parts.items():
        if said:
            lines += ["", f"*{title}.* {' '.join(said)}"]
    return lines


def _table(claims: Iterable[tuple[Claim, ClaimResult]]) -> list[str]:
    rows = sorted(claims, key=lambda item: WORST_FIRST.index(item[1].state))
    return [
        "| claim | at least | found | keyword impostor | shuffled impostor | state |",
        "|---|---:|---:|---:|---:|---|",
        *(_row(claim, result) for claim, result in rows),
    ]


def _row(claim: Claim, result: ClaimResult) -> str:
    others = {other.name: _impostor(other, claim) for other in result.impostors}
    found = _share(result.measured) if result.measured else ""
    cells = [claim.statement, f"{claim.at_least:.0%}", found, others.get("keyword", ""), others.get("shuffled", "")]
    return f"| {' | '.join(cells)} | {': '.join(filter(None, [_state(claim, result), _remark(result)]))} |"


def _state(claim: Claim, result: ClaimResult) -> str:
    """In words; a share below what is claimed, which the interval does not exclude, is said to be."""
    found = result.measured
    below = result.state is ClaimState.SUPPORTED and found is not None and found.hits < claim.at_least * found.n
    return "not refuted, though below" if below else result.state.lower()


def _remark(result: ClaimResult) -> str:
    return result.detail if result.measured is None else result.note


def _impostor(result: ImpostorResult, claim: Claim) -> str:
    """Its share; one that the check does not have to refute is in brackets."""
    share = f"{result.measured.hits / max(1, result.measured.n):.0%}{'' if result.refuted else ', not refuted'}"
    return share if result.name in claim.impostors else f"({share})"


def _share(found: Measured) -> str:
    return f"{found.hits / max(1, found.n):.1%} of {found.n} ({found.low:.1%} to {found.high:.1%})"
