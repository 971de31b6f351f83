"""What an audit log offers to be labelled: the last word on every exchange, and which of them belong together.

Nothing but the log is read: the members' scores, and how near the dial a text was, as `decide` found. Texts, where they are
kept, are looked at for near-duplicates and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from interlock_server.audit.reader import Damage, Place, TextGone, Texts, entries, units
from interlock_server.audit.record import FORMAT, Record, SegmentStart, VerdictRecord
from interlock_server.decision.verdict import Decision

from interlock_lab.mine.disagreement import spreads, weight
from interlock_lab.replay.tally import At
from interlock_lab.training.clusters import UnionFind, near_duplicate_keys
from interlock_lab.training.rows import hash_unit

CANDIDATES_MAX = 100_000
SHORT_BYTES = 32
"""Below this, completions are equal by chance: only with the same prompt are they one."""


@dataclass(frozen=True)
class Candidate:
    """A verdict. Candidates with the same `group` are one conversation or near-duplicates."""

    at: At
    record: VerdictRecord
    group: int = 0
    spread: float = 0.0

    @property
    def released(self) -> bool:
        return self.record.decided.decision == Decision.RELEASE

    @property
    def weight(self) -> float:
        return weight(self.spread, self.record.decided.margin)


@dataclass
class Found:
    """The candidates, the share of all exchanges that they are, and what was passed over."""

    candidates: list[Candidate] = field(default_factory=list)
    share: float = 1.0
    damaged: int = 0
    newer: int = 0


def find(
    logs: Sequence[Path],
    private_key: bytes | None,
    salt: str,
    advance: Callable[[int], object],
    limit: int = CANDIDATES_MAX,
) -> Found:
    """All of the logs' candidates, in groups; `advance` is told the size of each unit once it was read. Of more than `limit`
    a random share is taken.
    """
    found, last = Found(), dict[str, Candidate]()
    for at, record in _verdicts(logs, found, advance):
        name = record.stream.stream_id if record.stream else record.verdict_id
        if hash_unit(f"share:{salt}:{name}") < found.share:
            last[name] = Candidate(at, _bare(record))
        while len(last) > limit:
            found.share /= 2
            last = {name: kept for name, kept in last.items() if hash_unit(f"share:{salt}:{name}") < found.share}
    found.candidates = grouped(list(last.values()), [Texts(log, private_key) for log in logs])
    return found


def conversation(record: VerdictRecord) -> str:
    """What is known of it: the same caller with the same prompt, or the same stream or call."""
    if record.text.prompt_hash and record.text.prompt_bytes:
        return f"prompt:{record.caller}:{record.text.prompt_hash}"
    if record.stream is not None:
        return f"stream:{record.stream.stream_id}"
    return f"request:{record.caller}:{record.request_id}" if record.request_id else f"verdict:{record.verdict_id}"


def grouped(candidates: Sequence[Candidate], texts: Sequence[Texts]) -> list[Candidate]:
    """The same ones, with their groups, and with how far the members are apart."""
    union, first_with = UnionFind(len(candidates)), dict[str, int]()
    for index, candidate in enumerate(candidates):
        kept = texts[candidate.at.log].of(candidate.at.segment, candidate.record)
        for key in (conversation(candidate.record), *_duplicate_keys(candidate.record, kept)):
            union.join(first_with.setdefault(key, index), index)
    apart = spreads([candidate.record.evidence for candidate in candidates])
    return [Candidate(one.at, one.record, union.root(index), apart[index]) for index, one in enumerate(candidates)]


def _duplicate_keys(record: VerdictRecord, kept: tuple[bytes, bytes] | TextGone) -> Iterator[str]:
    text = record.text
    if text.completion_hash:
        alone = text.completion_bytes >= SHORT_BYTES
        yield f"same:{'' if alone else text.prompt_hash}:{text.completion_hash}"
    if not isinstance(kept, TextGone):
        yield from near_duplicate_keys(kept[1].decode("utf-8", "replace"))


def _verdicts(
    logs: Sequence[Path], found: Found, advance: Callable[[int], object]
) -> Iterator[tuple[At, VerdictRecord]]:
    for number, log in enumerate(logs):
        for unit in units(log):
            yield from _of_unit(number, entries(unit), found)
            advance(unit.size_bytes)


def _of_unit(
    log: int, lines: Iterable[tuple[Place, Record] | Damage], found: Found
) -> Iterator[tuple[At, VerdictRecord]]:
    newer = False
    for entry in lines:
        if isinstance(entry, Damage):
            found.damaged += 1
            continue
        place, record = entry
        if isinstance(record, SegmentStart):
            newer = record.format > FORMAT
        elif isinstance(record, VerdictRecord) and newer:
            found.newer += 1
        elif isinstance(record, VerdictRecord):
            yield At(log, *place), record


def _bare(record: VerdictRecord) -> VerdictRecord:
    """Without what takes memory and is not asked for again."""
    return msgspec.structs.replace(record, members=(), shadows={})
