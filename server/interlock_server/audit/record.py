"""What a line of the audit log says. A record holds everything that `decide` was given, so that it decides again to the same
verdict; the text under judgement is never in it, only keyed hashes of it and where a copy is, if one is kept.

Records are JSON, one a line, written and read by schema: a record that does not fit it is no record.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from interlock_server.decision.evidence import Evidence
from interlock_server.decision.verdict import Action, Decision, Reason, Verdict

FORMAT = 1
Span = tuple[int, int]
FeedbackLabel = Literal["HARMFUL", "FINE"]
Kept = Literal["none", "full", "encrypted"]


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all parts of records share: unknown fields are an error, and defaults are not written."""


class Decided(_Part, frozen=True, kw_only=True):
    """A verdict as far as deciding again must reproduce it, exactly."""

    decision: Decision
    reasons: tuple[Reason, ...] = ()
    action: Action
    margin: float | None = None
    disagreement: float | None = None
    categories: Mapping[str, tuple[Reason, ...]] = {}
    """The reasons of each category that withholds."""


class Digests(_Part, frozen=True, kw_only=True):
    """The exact versions behind a verdict."""

    bundle: str
    policy: str
    build: str


class MemberTrace(_Part, frozen=True, kw_only=True):
    """How one member came to its evidence. Spans are bytes of the completion, or of the prompt."""

    member: str
    coverage: tuple[Span, ...] = ()
    prompt_coverage: tuple[Span, ...] = ()
    worst_windows: Mapping[str, Span] = {}
    windows: int = 0
    queue_s: float = 0.0
    read_s: float = 0.0
    infer_s: float = 0.0


class TextTrace(_Part, frozen=True, kw_only=True):
    """The texts, without the texts: sizes in bytes and keyed hashes (hex), empty where none are made."""

    prompt_bytes: int
    completion_bytes: int
    prompt_hash: str = ""
    completion_hash: str = ""
    kept: Kept = "none"
    offset: int | None = None
    """Where in the segment's file of texts they begin."""


class StreamTrace(_Part, frozen=True, kw_only=True):
    """Which part of a growing completion a verdict was on: its bytes from `start` to `end`; all of it when `whole`."""

    stream_id: str
    start: int
    end: int
    whole: bool = False
    released_bytes: int = 0
    """How much of the completion had been released before the verdict."""


class VerdictRecord(_Part, frozen=True, kw_only=True, tag="verdict"):
    """One verdict."""

    verdict_id: str
    time_unix_ns: int
    rpc: str
    caller: str = ""
    request_id: str = ""
    evidence: Evidence
    decided: Decided
    digests: Digests
    text: TextTrace
    members: tuple[MemberTrace, ...] = ()
    total_s: float = 0.0
    observed_only: bool = False
    stream: StreamTrace | None = None
    shadows: Mapping[str, Decided] = {}
    """What other policies would have said, by name."""


class FeedbackRecord(_Part, frozen=True, kw_only=True, tag="feedback"):
    """What a person found of an earlier verdict."""

    verdict_id: str
    time_unix_ns: int
    label: FeedbackLabel
    categories: tuple[str, ...] = ()
    caller: str = ""


class SegmentStart(_Part, frozen=True, kw_only=True, tag="segment"):
    """The first line of every segment."""

    format: int
    number: int
    previous: str
    """The chain's digest at the last record of the segment before; empty in the first segment of a log."""
    time_unix_ns: int
    build: str
    key_id: str = ""
    """Which key the hashes of this segment were made with."""
    retired_through: int = 0
    """The last segment that retention had deleted by then."""


class SegmentEnd(_Part, frozen=True, kw_only=True, tag="end"):
    """The last line of a segment that was closed in order."""

    time_unix_ns: int
    records: int
    """Of verdicts and feedback."""


Record = VerdictRecord | FeedbackRecord | SegmentStart | SegmentEnd

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Record).decode
"""Raises msgspec.DecodeError (a ValueError) when the bytes are not a record."""


def decided(verdict: Verdict) -> Decided:
    """The part of a verdict that deciding again must reproduce."""
    return Decided(
        decision=verdict.decision,
        reasons=verdict.reasons,
        action=verdict.action,
        margin=verdict.margin,
        disagreement=verdict.disagreement,
        categories={result.category: result.reasons for result in verdict.categories if result.reasons},
    )
