"""Recorded evidence, decided again. PURE but for reading the log; the same function runs in a process of this machine and as a
task on a cluster. There is one `decide`, the server's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interlock_server.audit.reader import Damage, Place, Unit, entries
from interlock_server.audit.record import (
    FORMAT,
    Decided,
    FeedbackRecord,
    Record,
    SegmentStart,
    VerdictRecord,
    decided,
)
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy

from interlock_lab.replay.tally import At, Difference, Tally, Unjudged, differences

ANOTHER_BUNDLE, PROFILE_UNKNOWN = "ANOTHER_BUNDLE", "PROFILE_UNKNOWN"
NO_SHADOW, FORMAT_NEWER = "NO_SHADOW", "FORMAT_NEWER"
NOT_OF_THE_TEXT = "NOT_OF_THE_TEXT"
"""An alarm withheld that the kept text alone does not raise again, such as a stream that was cut off."""
NOT_ANSWERED, DETAIL_NOT_GRANTED = "NOT_ANSWERED", "DETAIL_NOT_GRANTED"
"""By a server. The second: it withheld, and tells less than the comparison needs."""

Found = tuple[Place, Record] | Damage


@dataclass(frozen=True)
class Wanted:
    """Which verdicts of the log are meant; None: all."""

    since_ns: int | None = None
    until_ns: int | None = None
    """Exclusive."""
    caller: str | None = None
    category: str | None = None
    """One that withholds, before or after."""

    def at_time(self, time_unix_ns: int) -> bool:
        """Whether something was then."""
        since_ns, until_ns = self.since_ns, self.until_ns
        return (since_ns is None or time_unix_ns >= since_ns) and (until_ns is None or time_unix_ns < until_ns)

    def takes(self, record: VerdictRecord) -> bool:
        """As far as the record alone says."""
        return (self.caller is None or record.caller == self.caller) and self.at_time(record.time_unix_ns)

    def concerns(self, *verdicts: Decided) -> bool:
        """Whether the category withholds in one of them."""
        return self.category is None or any(self.category in verdict.categories for verdict in verdicts)


@dataclass(frozen=True)
class Job:
    """A piece of work: a unit of one of the logs."""

    log: int
    unit: Unit


@dataclass(frozen=True)
class Plan:
    """What is to be decided anew. `profile` replaces every record's own; with `shadow` nothing is decided."""

    policy: Policy
    bundle: str = ""
    any_bundle: bool = False
    profile: str | None = None
    shadow: str | None = None
    wanted: Wanted = Wanted()


def redecide_unit(job: Job, plan: Plan) -> Tally:
    """The tally of one unit."""
    return tallied(entries(job.unit), job.log, plan)


def tallied(found: Iterable[Found], log: int, plan: Plan) -> Tally:
    """The tally of what was found in a unit."""
    tally = Tally()
    judge = _shadow if plan.shadow is not None else redecided
    for at, record in verdicts(found, log, plan.wanted, tally):
        after = judge(record, plan)
        tell(tally, at, record, after, plan.wanted)
        if _must_come_again(record, plan) and isinstance(after, Decided):
            tally.checked += 1
            if after != record.decided:
                tally.irreproducible.add(at, Difference(record.verdict_id, differences(record.decided, after)))
    return tally


def verdicts(found: Iterable[Found], log: int, wanted: Wanted, tally: Tally) -> Iterator[tuple[At, VerdictRecord]]:
    """The verdicts that are wanted; whatever else is found is counted here."""
    newer = False
    for entry in found:
        if isinstance(entry, Damage):
            tally.damage.add(At(log, *entry.place), entry.what)
            continue
        at, record = At(log, *entry[0]), entry[1]
        if isinstance(record, VerdictRecord):
            if newer:
                tally.skip(at, Unjudged(FORMAT_NEWER, record.verdict_id))
            elif wanted.takes(record):
                yield at, record
        elif isinstance(record, FeedbackRecord) and wanted.at_time(record.time_unix_ns):
            tally.reported.add(at, (record.verdict_id, record.label))
        elif isinstance(record, SegmentStart):
            newer = record.format > FORMAT


def tell(
    tally: Tally, at: At, record: VerdictRecord, after: Decided | Unjudged, wanted: Wanted, full: bool = True
) -> None:
    """Counts what became of a verdict, told in `full` or without margin and categories."""
    if isinstance(after, Unjudged):
        tally.skip(at, after)
    elif wanted.category is None or wanted.concerns(record.decided, after):
        tally.count(at, record, after, full)


def redecided(record: VerdictRecord, plan: Plan) -> Decided | Unjudged:
    """What the policy makes of the evidence, exactly as it was recorded but for the profile."""
    digests, evidence, policy = record.digests, record.evidence, plan.policy
    if digests.bundle != plan.bundle and not plan.any_bundle:
        return Unjudged(ANOTHER_BUNDLE, record.verdict_id, digests.bundle)
    if plan.profile is not None:
        evidence = with_profile(evidence, plan.profile)
    elif evidence.profile and evidence.profile not in policy.profiles and digests.policy != policy.digest:
        return Unjudged(PROFILE_UNKNOWN, record.verdict_id, evidence.profile)
    return decided(decide(evidence, policy))


def with_profile(evidence: Evidence, profile: str) -> Evidence:
    """The same evidence under another profile. Not by `replace`, which would take a tenth of all the time."""
    if evidence.profile == profile:
        return evidence
    e = evidence
    return Evidence(e.members, profile, e.extra_margin, e.alarms, e.ood_pvalue, e.certificate, e.conservative)


def _shadow(record: VerdictRecord, plan: Plan) -> Decided | Unjudged:
    """What a shadow policy said at the time. Where an alarm withholds it does so under every policy, and none is asked."""
    shadow = record.shadows.get(plan.shadow or "")
    if shadow is None and record.evidence.alarms:
        return record.decided
    return Unjudged(NO_SHADOW, record.verdict_id) if shadow is None else shadow


def _must_come_again(record: VerdictRecord, plan: Plan) -> bool:
    """The policy and the profile are those that the verdict came from: then any difference is an error of ours."""
    recorded, policy, asked = record.evidence.profile, plan.policy, plan.profile
    if record.digests.policy != policy.digest or plan.shadow is not None:
        return False
    return asked is None or asked == (recorded or policy.default_profile)
