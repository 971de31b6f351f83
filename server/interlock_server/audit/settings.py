"""The settings of the audit log."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from interlock_server.decision.verdict import Decision, Reason
from interlock_server.strict import Settings

Share = Annotated[float, Field(ge=0, le=1)]


def _reasons(shares: dict[str, float]) -> dict[str, float]:
    for name in shares:
        if name not in (*Reason, Decision.RELEASE):
            raise ValueError(f"{name!r} is neither a reason nor RELEASE")
    return shares


class AuditSettings(Settings):
    """Without a folder nothing is recorded."""

    folder: str | None = None
    mode: Literal["best_effort", "required"] = "best_effort"
    """`required`: nothing is released before its record is on disk."""
    text: Literal["hash", "encrypted", "full", "none"] = "hash"
    """What of the judged texts is kept; keyed hashes in every mode but `none`."""
    text_shares: Annotated[dict[str, Share], AfterValidator(_reasons)] = {}
    """First reason, or RELEASE -> the share of such texts that `full` and `encrypted` keep; 1 for those not named."""
    hash_key_file: str | None = None
    """The key of the hashes, 32 bytes in hex; by default hash.key in the folder, made when there is none."""
    public_key_file: str | None = None
    """For `encrypted`: an X25519 public key in hex; the private one is not needed on the server."""
    commit_reserve_ms: int = Field(default=20, ge=1, le=10_000)
    """In `required`: how much of a request's time is kept for writing its record."""
    queue_size_max: int = Field(default=4096, ge=1, le=1_000_000)
    segment_bytes_max: int = Field(default=64 * 1024 * 1024, ge=64 * 1024, le=4 * 1024**3)
    segment_age_s: float = Field(default=3600.0, ge=1, le=30 * 86_400)
    retain_days: float | None = Field(default=None, gt=0)
    """Closed segments older than that are deleted; by default none is."""
    retain_bytes_max: int | None = Field(default=None, ge=1024 * 1024)
    """The oldest closed segments are deleted while the log is larger than that."""
