"""Reads audit logs for what people say about them: the window of traffic that an operator attests."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from interlock_server.assurance.drift import BLOCK_ITEMS, Conversations, Places, Quantiles, quantiles, statistics_of
from interlock_server.audit.reader import Damage, entries, units
from interlock_server.audit.record import VerdictRecord
from interlock_server.decision.decide import decide
from interlock_server.decision.policy import Policy
from interlock_server.drift_files import BaselineFile, QuantilesFile
from interlock_server.errors import ConfigError

BASELINE_MIN = 5 * BLOCK_ITEMS
CONVERSATIONS_MAX = 1_000_000
_STREAMS_MAX = 100_000


@dataclass(frozen=True)
class Window:
    """Which records are attested, and by whom. Times are unix, in ns."""

    since_ns: int
    until_ns: int
    attested_by: str
    caller_share_max: float


@dataclass
class Sample:
    """What was found in a window."""

    exchanges: int = 0
    of_other_bundles: int = 0
    incomplete: int = 0
    repeated: int = 0
    over_share: int = 0
    counted: int = 0
    withheld: int = 0
    callers: set[str] = field(default_factory=set)
    values: dict[str, list[float]] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0


def sample(folders: Sequence[Path], window: Window, policy: Policy, bundle_digest: str) -> Sample:
    """The statistics of a window as the monitor would have seen them under this policy, at most CONVERSATIONS_MAX of them."""
    found = Sample()
    members = frozenset(policy.required_members)
    conversations, places = Conversations(CONVERSATIONS_MAX), Places(window.caller_share_max)
    for record in _answers(folders, window):
        found.exchanges += 1
        if record.digests.bundle != bundle_digest:
            found.of_other_bundles += 1
            continue
        evidence = replace(record.evidence, profile="", conservative=False)
        verdict = decide(evidence, policy)
        values = statistics_of(evidence, verdict.margin, members)
        if values is None:
            found.incomplete += 1
        elif not conversations.is_new(_conversation(record)):
            found.repeated += 1
        elif not places.take(record.caller):
            found.over_share += 1
        else:
            found.counted += 1
            found.withheld += not verdict.released
            found.callers.add(record.caller)
            found.first_ns = min(found.first_ns or record.time_unix_ns, record.time_unix_ns)
            found.last_ns = max(found.last_ns, record.time_unix_ns)
            for name, value in values.items():
                found.values.setdefault(name, []).append(value)
        if found.counted == CONVERSATIONS_MAX:
            break
    return found


def baseline_of(found: Sample, window: Window, bundle_digest: str, policy_digest: str, now: datetime) -> BaselineFile:
    """Raises ConfigError when there is too little to compare with."""
    if found.counted < BASELINE_MIN:
        raise ConfigError(
            f"only {found.counted} conversations count and {BASELINE_MIN} are needed: of {found.exchanges} answers"
            f" {found.of_other_bundles} are by another bundle, {found.incomplete} without complete evidence,"
            f" {found.repeated} of the same conversation as another, and {found.over_share} by callers who have more than"
            f" {window.caller_share_max:.1%} of the traffic (--caller-share)"
        )
    usable = {name: quantiles(values) for name, values in found.values.items() if len(values) >= BASELINE_MIN}
    return BaselineFile(
        attested_by=window.attested_by,
        attested_at=now,
        since=datetime.fromtimestamp(found.first_ns / 1e9, UTC),
        until=datetime.fromtimestamp(found.last_ns / 1e9, UTC),
        bundle=bundle_digest,
        policy=policy_digest,
        caller_share_max=window.caller_share_max,
        callers=len(found.callers),
        withheld_share=found.withheld / found.counted,
        statistics={name: _file(one) for name, one in usable.items() if one is not None},
    )


def _file(one: Quantiles) -> QuantilesFile:
    return QuantilesFile(thresholds=list(one.thresholds), shares=list(one.shares), items=one.items)


def _answers(folders: Sequence[Path], window: Window) -> Iterator[VerdictRecord]:
    """Every verdict that was answered: of a stream the last one."""
    open_streams: dict[str, VerdictRecord] = {}
    for unit in (unit for folder in folders for unit in units(folder)):
        for entry in entries(unit):
            if isinstance(entry, Damage) or not isinstance(record := entry[1], VerdictRecord):
                continue
            if not window.since_ns <= record.time_unix_ns < window.until_ns:
                continue
            stream = record.stream
            if stream is not None and not stream.whole:
                open_streams[stream.stream_id] = record
                if len(open_streams) > _STREAMS_MAX:
                    yield open_streams.pop(next(iter(open_streams)))
                continue
            if stream is not None:
                open_streams.pop(stream.stream_id, None)
            yield record
    yield from open_streams.values()


def _conversation(record: VerdictRecord) -> Hashable:
    """As the monitor tells conversations apart, as far as the log's hashes allow; without hashes every verdict is one."""
    text = record.text
    told = text.prompt_hash if text.prompt_bytes else text.completion_hash
    return (record.caller, told) if told else record.verdict_id
