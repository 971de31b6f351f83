"""One guarded stream, without I/O: what was sent, what of it is released, and what may come out next.

Bytes come out only after a response named the SHA-256 of exactly what was sent up to their end. The first thing that is
not as it should be settles the guard, and then nothing more comes out.
"""

import codecs
import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, get_args

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason, SettingsError, call_error
from .requests import Question, encoded
from .responses import verdict_of, withheld
from .settings import ClientSettings
from .verdict import Fallback, Verdict, Withheld, fallback_text

Piece = TypeVar("Piece", bound=str | bytes)
OnWithheld = Literal["raise", "fallback"]

TIMEOUT_S = 300.0
CHUNK_BYTES_MAX = 64 * 1024  # of a message; what is written while one is under way waits and goes as one


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The arguments of one guard."""

    question: Question = field(repr=False)
    idle_timeout_s: float
    buffer_bytes_max: int
    on_withheld: OnWithheld
    fallback: Fallback | None = field(repr=False)

    def __post_init__(self) -> None:
        checks = {
            f"on_withheld must be one of {get_args(OnWithheld)}": self.on_withheld in get_args(OnWithheld),
            "on_withheld='fallback' needs a fallback": self.on_withheld != "fallback" or self.fallback is not None,
            "idle_timeout_s must be a positive number of seconds": _is_positive(self.idle_timeout_s),
            "buffer_bytes_max must be a positive number": _is_positive(self.buffer_bytes_max),
        }
        for message, holds in checks.items():
            if not holds:
                raise SettingsError(message)

    def last_words(self, guarding: "Guarding") -> str | bytes:
        """What comes out when the text is withheld, as the kind of text that the stream is made of; or raises."""
        if self.on_withheld == "raise":
            raise Withheld(guarding.verdict)
        text = fallback_text(self.fallback or "", guarding.verdict)
        return text.encode() if guarding.kind is bytes else text


class Guarding:
    """Give it pieces and responses, ask it for messages and texts. `settled` means that `verdict` is final."""

    def __init__(self, settings: ClientSettings, buffer_bytes_max: int) -> None:
        self.verdict = Verdict(profile=settings.profile, enforcement=settings.enforcement)
        self.settled = False
        self.kind: type | None = None  # of the pieces: str or bytes
        self.bytes_out = 0
        self._settings = settings
        self._buffer_bytes_max = buffer_bytes_max
        self._unsent = bytearray()
        self._held = bytearray()  # sent and not released
        self._released_bytes = 0
        self._released_sha256 = hashlib.sha256()
        self._partial = bytearray()  # released, of a character that is not complete
        self._ready = bytearray()
        self._finished = False
        self._end_sent = False

    @property
    def wants_more(self) -> bool:
        """Whether to take another piece: not while there is enough to send, or while nobody takes what is released."""
        return not (self.settled or self._ready or len(self._unsent) >= CHUNK_BYTES_MAX)

    @property
    def says_more(self) -> bool:
        """Whether there will be another message, now or later."""
        return not (self.settled or self._end_sent)

    def take(self, piece: object) -> None:
        """The next piece of the completion."""
        if self.settled:
            return
        try:
            text = encoded(piece)
            self.kind = self.kind or (str if isinstance(piece, str) else bytes)
            if not isinstance(piece, self.kind):
                raise CallError(LocalReason.INVALID_CALL, "str and bytes in one stream")
            if len(self._held) + len(self._unsent) + len(text) > self._buffer_bytes_max:
                raise CallError(LocalReason.TOO_LARGE, "buffer_bytes_max")
            self._unsent += text
        except CallError as error:
            self.fail(error)

    def finish(self) -> None:
        """The completion is whole."""
        self._finished = True

    def message(self) -> pb.ScreenStreamRequest | None:
        """What to send next; None: nothing now."""
        if not self.says_more:
            return None
        if self._unsent:
            chunk = _cut(self._unsent, CHUNK_BYTES_MAX)
            self._held += chunk
            return pb.ScreenStreamRequest(chunk=chunk)
        if self._finished:
            self._end_sent = True
            return pb.ScreenStreamRequest(end=pb.ScreenStreamEnd())
        return None

    def answer(self, payload: bytes) -> None:
        """The next response."""
        if self.settled:
            return
        try:
            response = pb.ScreenStreamResponse.FromString(payload)
            if response.HasField("verdict") and response.verdict.decision != pb.DECISION_RELEASE:
                self._withhold(response.verdict)
                return
            self._release(response.released_bytes, response.released_sha256)
            if response.HasField("verdict"):
                self._conclude(response.verdict)
        except Exception as error:
            self.fail(call_error(error))

    def fail(self, error: CallError) -> None:
        """There will be no verdict."""
        if not self.settled:
            self._settle(withheld(error, self._settings))

    def text(self) -> str | bytes | None:
        """What comes out next; None: nothing now."""
        if not self._ready:
            return None
        ready = _cut(self._ready, len(self._ready))
        self.bytes_out += len(ready)
        return ready.decode() if self.kind is str else ready

    def _release(self, released_bytes: int, sha256: bytes) -> None:
        count = released_bytes - self._released_bytes
        if not 0 <= count <= len(self._held):
            raise CallError(LocalReason.MALFORMED_RESPONSE, "released_bytes")
        digest = self._released_sha256.copy()
        digest.update(self._held[:count])
        if digest.digest() != sha256 and (released_bytes or sha256):  # the digest of nothing may be left out
            raise CallError(LocalReason.DIGEST_MISMATCH)
        self._released_sha256 = digest
        self._released_bytes = released_bytes
        self._partial += _cut(self._held, count)
        # Half a character is no text yet. What is not UTF-8 at all was not made of str.
        whole = codecs.utf_8_decode(self._partial, "strict", False)[1] if self.kind is str else len(self._partial)
        self._ready += _cut(self._partial, whole)

    def _conclude(self, message: pb.Verdict) -> None:
        if not self._end_sent or self._held or self._unsent:
            raise CallError(LocalReason.MALFORMED_RESPONSE, "released before its end")
        self._settle(verdict_of(message, self._released_sha256.digest(), self._settings))

    def _withhold(self, message: pb.Verdict) -> None:
        # It may be on less than has been sent by now, so its digest says nothing here.
        message.ClearField("completion_sha256")
        self._settle(verdict_of(message, b"", self._settings))

    def _settle(self, verdict: Verdict) -> None:
        self.settled = True
        if not verdict.released:
            for text in (self._unsent, self._held, self._partial, self._ready):
                text.clear()
            action = "RETRACT" if self.bytes_out else verdict.action.replace("RETRACT", self._settings.on_unavailable)
            verdict = replace(verdict, action=action, released_bytes=self.bytes_out)
        self.verdict = verdict


def _cut(text: bytearray, count: int) -> bytes:
    """Takes the first bytes away."""
    first = bytes(text[:count])
    del text[:count]
    return first


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
