"""What a replay counts. PURE: it takes one verdict before and after at a time, and tallies of parts of a log add up to the same
tally in whatever order they are merged. Everything in it is limited: of lists it keeps the first entries by their place.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec
from interlock_server.audit.record import Decided, VerdictRecord
from interlock_server.decision.verdict import Decision

RELEASE, WITHHOLD = Decision.RELEASE.value, Decision.WITHHOLD.value
NO_CATEGORY = ""
"""Of reasons that no category gave, such as OVERLOADED."""

PLACES_MAX = 100
FLIPS_MAX = 1_000
JOINED_MAX = 200_000
"""Flips and reports that are joined by verdict id: those of a log may be apart by any distance."""

MARGIN_LOW, MARGIN_HIGH, MARGIN_STEP = -10.0, 10.0, 0.5
BUCKETS = int((MARGIN_HIGH - MARGIN_LOW) / MARGIN_STEP)
GAP_UNIT = 1e-9
"""Differences of scores are summed as whole multiples of it: sums of floats would depend on their order."""


class At(NamedTuple):
    """Where a record stands: which of the logs, its segment, its line."""

    log: int
    segment: int
    line: int


class Flip(msgspec.Struct, frozen=True):
    """A verdict that changed its decision."""

    verdict_id: str
    caller: str
    profile: str
    part: bool
    before: Decided
    after: Decided


class Unjudged(msgspec.Struct, frozen=True, order=True):
    """A record without a verdict to compare, and why."""

    cause: str
    verdict_id: str = ""
    detail: str = ""


class Difference(msgspec.Struct, frozen=True, order=True):
    """A verdict that should have come again, and did not; `fields` name what is different."""

    verdict_id: str
    fields: tuple[str, ...]


class Gap(msgspec.Struct):
    """How far two scorings of the same texts are apart, over so many scores; in GAP_UNIT."""

    count: int = 0
    largest: int = 0
    total: int = 0

    def add(self, difference: float) -> None:
        """One score."""
        units = round(abs(difference) / GAP_UNIT)
        self.count += 1
        self.total += units
        self.largest = max(self.largest, units)

    def merge(self, other: Gap) -> None:
        """Those of another part of the log."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)


_T = TypeVar("_T")


class Firsts(msgspec.Struct, Generic[_T]):
    """How many there were, and the first of them. They must be added in order of their places."""

    limit: int
    count: int = 0
    items: list[tuple[At, _T]] = []

    def add(self, at: At, item: _T) -> None:
        """One more, behind all others."""
        self.count += 1
        if len(self.items) < self.limit:
            self.items.append((at, item))

    def merge(self, other: Firsts[_T]) -> None:
        """Those of another part of the log."""
        self.count += other.count
        if other.items and (len(self.items) < self.limit or other.items[0] < self.items[-1]):
            self.items = sorted(self.items + other.items)[: self.limit]


def _places() -> Firsts[Unjudged]:
    return Firsts(PLACES_MAX)


def _differences() -> Firsts[Difference]:
    return Firsts(PLACES_MAX)


def _damage() -> Firsts[str]:
    return Firsts(PLACES_MAX)


def _flips() -> Firsts[Flip]:
    return Firsts(FLIPS_MAX)


def _joined() -> Firsts[tuple[str, str]]:
    return Firsts(JOINED_MAX)


def _buckets() -> list[int]:
    return [0] * (BUCKETS + 3)


class Tally(msgspec.Struct):
    """The counts of a log or of a part of one."""

    outcomes: dict[tuple[bool, str, str, str], int] = {}
    """(Part of a stream, recorded profile, before, after) -> count; an outcome is RELEASE or the first reason."""
    withheld: dict[tuple[bool, str, str], int] = {}
    """(Part of a stream, category, reason) -> verdicts that were withheld for it before."""
    flips: dict[tuple[bool, str, str, str], int] = {}
    """(Part of a stream, the decision now, category, reason) -> count: by the reasons of the side that withholds."""
    reasoned_anew: dict[bool, int] = {}
    """Part of a stream -> verdicts with the same decision, but other reasons or another action."""
    margins_before: list[int] = msgspec.field(default_factory=_buckets)
    margins_after: list[int] = msgspec.field(default_factory=_buckets)
    """Verdicts on whole texts by margin: unknown, below MARGIN_LOW, each MARGIN_STEP, MARGIN_HIGH and above."""
    released: Firsts[Flip] = msgspec.field(default_factory=_flips)
    withdrawn: Firsts[Flip] = msgspec.field(default_factory=_flips)
    flipped: Firsts[tuple[str, str]] = msgspec.field(default_factory=_joined)
    """Verdict id and the decision now."""
    reported: Firsts[tuple[str, str]] = msgspec.field(default_factory=_joined)
    """Verdict id and the label that a person gave."""
    unjudged: dict[str, Firsts[Unjudged]] = {}
    checked: int = 0
    """Verdicts that must come again: under the policy and the profile that they came from."""
    irreproducible: Firsts[Difference] = msgspec.field(default_factory=_differences)
    damage: Firsts[str] = msgspec.field(default_factory=_damage)
    gaps: dict[str, Gap] = {}
    """Member -> how its scores differ, where texts were scored again."""
    without_detail: int = 0
    """Verdicts of which a server told neither margin nor categories."""

    def count(self, at: At, record: VerdictRecord, after: Decided, full: bool = True) -> None:
        """One verdict, as recorded and as it is now; if that is not `full`, no margin and no category is compared."""
        before, stream = record.decided, record.stream
        part = stream is not None and not stream.whole
        _increment(self.outcomes, (part, record.evidence.profile, _outcome(before), _outcome(after)))
        self.without_detail += not full
        if full and not part:
            self.margins_before[bucket(before.margin)] += 1
            self.margins_after[bucket(after.margin)] += 1
        if before.decision is not Decision.RELEASE:
            for category, reason in causes(before):
                _increment(self.withheld, (part, category, reason))
        if after.decision is not before.decision:
            self._flip(at, Flip(record.verdict_id, record.caller, record.evidence.profile, part, before, after))
        elif (
            after.reasons != before.reasons
            or after.action != before.action
            or (full and after.categories != before.categories)
        ):
            _increment(self.reasoned_anew, part)

    @property
    def records(self) -> int:
        """Verdicts, compared or not."""
        return sum(self.outcomes.values()) + sum(places.count for places in self.unjudged.values())

    def _flip(self, at: At, flip: Flip) -> None:
        now_released = flip.after.decision is Decision.RELEASE
        (self.released if now_released else self.withdrawn).add(at, flip)
        self.flipped.add(at, (flip.verdict_id, flip.after.decision.value))
        for category, reason in causes(flip.before if now_released else flip.after):
            _increment(self.flips, (flip.part, flip.after.decision.value, category, reason))

    def skip(self, at: At, unjudged: Unjudged) -> None:
        """A record for which there is no verdict now."""
        self.unjudged.setdefault(unjudged.cause, _places()).add(at, unjudged)

    def merge(self, other: Tally) -> None:
        """Adds the counts of another part of the log."""
        self.checked += other.checked
        self.without_detail += other.without_detail
        for name in ("outcomes", "withheld", "flips", "reasoned_anew"):
            mine = getattr(self, name)
            for key, number in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + number
        self.margins_before = [a + b for a, b in zip(self.margins_before, other.margins_before, strict=True)]
        self.margins_after = [a + b for a, b in zip(self.margins_after, other.margins_after, strict=True)]
        for name in ("released", "withdrawn", "flipped", "reported", "irreproducible", "damage"):
            getattr(self, name).merge(getattr(other, name))
        for cause, places in other.unjudged.items():
            self.unjudged.setdefault(cause, _places()).merge(places)
        for member, gap in other.gaps.items():
            self.gaps.setdefault(member, Gap()).merge(gap)


def causes(verdict: Decided) -> list[tuple[str, str]]:
    """Every (category, reason) that withholds; reasons of no category stand under NO_CATEGORY."""
    found: list[tuple[str, str]] = [
        (category, reason) for category, reasons in verdict.categories.items() for reason in reasons
    ]
    if len(verdict.reasons) > 1 or not found:
        given = {reason for _, reason in found}
        found += [(NO_CATEGORY, reason) for reason in verdict.reasons if reason not in given]
    return found


def bucket(margin: float | None) -> int:
    """The place of a margin in the histograms."""
    if margin is None:
        return 0
    if margin < MARGIN_LOW:
        return 1
    return 2 + int((margin - MARGIN_LOW) / MARGIN_STEP) if margin < MARGIN_HIGH else BUCKETS + 2


def differences(before: Decided, after: Decided) -> tuple[str, ...]:
    """The names of the fields in which they differ."""
    return tuple(name for name in Decided.__struct_fields__ if getattr(before, name) != getattr(after, name))


def _outcome(verdict: Decided) -> str:
    """RELEASE, or the first reason not to."""
    if verdict.decision is Decision.RELEASE:
        return RELEASE
    return verdict.reasons[0] if verdict.reasons else WITHHOLD


def _increment(counts: dict[_T, int], key: _T) -> None:
    counts[key] = counts.get(key, 0) + 1
