"""The verdict that callers see. PURE. Whatever is missing here means: withhold.

Truth needs two things at once, the decision RELEASE and the digest of the very text that was sent.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.v1 import safety_filter_pb2 as pb

from .errors import InterlockError, LocalReason

Decision = Literal["RELEASE", "WITHHOLD"]
Enforcement = Literal["enforce", "observe"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision on one exchange and its explanation. `if verdict:` is True only for a text that may be released.

    Names of reasons, actions and causes are those of the contract without their prefix; a `local` verdict was made by
    the client, and its reason is a LocalReason. How much is filled in depends on the `detail` that was asked for.
    """

    decision: Decision = "WITHHOLD"
    reasons: tuple[str, ...] = (LocalReason.NOT_SCREENED.value,)
    action: str = ""
    retryable: bool = False
    retry_after_s: float = 0.0
    margin: float | None = None
    disagreement: float | None = None
    margin_comparable: bool = False
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)
    digests: Mapping[str, str] = field(default_factory=dict, hash=False)
    verdict_id: str = ""
    profile: str = ""
    fallback_text: str = ""  # what the operator wrote down to show instead of it
    enforcement: Enforcement = "enforce"
    local: bool = True
    released_bytes: int = 0  # of a stream: how much had come out when it was withheld
    cause: str = ""  # behind a local reason: a gRPC status or an exception type, never a message
    sent_sha256: bytes = field(default=b"", repr=False)
    completion_sha256: bytes = field(default=b"", repr=False)
    proto: pb.Verdict | None = field(default=None, repr=False, compare=False)

    @property
    def released(self) -> bool:
        """The server decided RELEASE on exactly the bytes that were sent."""
        same_text = len(self.sent_sha256) == 32 and self.sent_sha256 == self.completion_sha256
        return self.decision == "RELEASE" and same_text

    @property
    def may_release(self) -> bool:
        """What the caller does: as `released`, except that in observe mode everything goes out, judged or not."""
        return self.released or self.enforcement == "observe"

    def __bool__(self) -> bool:
        return self.released

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain data, ready for JSON."""
        return {
            "decision": "RELEASE" if self.released else "WITHHOLD",
            "action": self.action,
            "reasons": list(self.reasons),
            "margin": _number(self.margin),
            "disagreement": _number(self.disagreement),
            "scores": {
                member: {category: _number(score) for category, score in scores.items()}
                for member, scores in self.scores.items()
            },
            "missing": dict(self.missing),
            "digests": dict(self.digests),
        }

    def to_json(self) -> str:
        """`as_dict` on one line."""
        return json.dumps(self.as_dict(), allow_nan=False)


Fallback = str | Callable[[Verdict], str]
"""What the caller says instead of a text that is withheld."""


def fallback_text(fallback: Fallback, verdict: Verdict) -> str:
    """The words themselves."""
    return fallback(verdict) if callable(fallback) else fallback


class Withheld(InterlockError):
    """A guarded stream was withheld. `verdict` says why, and how many bytes had come out before."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict

    def __str__(self) -> str:
        return f"{', '.join(self.verdict.reasons)} after {self.verdict.released_bytes} bytes"


def _number(value: float | None) -> float | None:
    # JSON has no word for infinity or NaN.
    return value if value is not None and math.isfinite(value) else None
