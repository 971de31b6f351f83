"""What becomes of the judged texts: keyed hashes, and a copy of some of them. Pure, but for the randomness of sealing."""

import hashlib
import hmac
from collections.abc import Callable, Mapping

from interlock_server.audit.framing import ENCRYPTED, FULL, TextFrame, packed
from interlock_server.audit.record import Kept, TextTrace

_KINDS: Mapping[Kept, int] = {"full": FULL, "encrypted": ENCRYPTED}
Seal = Callable[[bytes], bytes]


class TextKeeper:
    """Traces texts. Without a `key` there are no hashes; `kept` says whether copies are made, and `seal` encrypts them."""

    def __init__(self, key: bytes = b"", kept: Kept = "none", shares: Mapping[str, float] | None = None) -> None:
        self._key = key
        self._kept: Kept = kept
        self._shares = shares or {}
        self._seal: Seal = bytes

    @classmethod
    def sealing(cls, key: bytes, public_key: bytes, shares: Mapping[str, float]) -> "TextKeeper":
        """Copies that only the owner of the private key reads."""
        from nacl.public import PublicKey, SealedBox

        keeper = cls(key, "encrypted", shares)
        keeper._seal = SealedBox(PublicKey(public_key)).encrypt
        return keeper

    def trace(
        self, verdict_id: str, prompt: bytes, completion: bytes, label: str, offset: int
    ) -> tuple[TextTrace, bytes]:
        """The trace of these texts, and the frame to be written at `offset`; empty when no copy is kept."""
        keeps = self._keeps(verdict_id, label)
        trace = TextTrace(
            prompt_bytes=len(prompt),
            completion_bytes=len(completion),
            prompt_hash=self._hash(prompt),
            completion_hash=self._hash(completion),
            kept=self._kept if keeps else "none",
            offset=offset if keeps else None,
        )
        if not keeps:
            return trace, b""
        return trace, TextFrame(verdict_id, _KINDS[self._kept], self._seal(packed(prompt, completion))).to_bytes()

    def _hash(self, text: bytes) -> str:
        return hmac.digest(self._key, text, "sha256").hex() if self._key else ""

    def _keeps(self, verdict_id: str, label: str) -> bool:
        """By the verdict's id, so that whoever knows the shares can tell which texts must be there."""
        if self._kept == "none" or not label:
            return False
        place = int.from_bytes(hashlib.sha256(verdict_id.encode()).digest()[:8], "big") / 2**64
        return place < self._shares.get(label, 1.0)
