"""How much one caller may ask. PURE: the time comes from outside. For one event loop; each replica counts for itself."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pydantic import Field

from interlock_server.strict import Settings


class QuotaSettings(Settings):
    """Limits of one caller on one replica; what is not set is not limited."""

    requests_per_second: float | None = Field(default=None, gt=0, le=1e6)
    """Exchanges: a batch counts as many as it holds."""
    requests_burst: int = Field(default=100, ge=1, le=1_000_000)
    bytes_per_second: float | None = Field(default=None, gt=0, le=1e12)
    """Of prompts, turns and completions."""
    bytes_burst: int = Field(default=1_000_000, ge=1, le=1_000_000_000)
    streams_max: int | None = Field(default=None, ge=1, le=100_000)
    """Streams that are open at once."""


class Refusal(NamedTuple):
    """Which limit it was, as a label of metrics, and when to come back."""

    why: str
    retry_after_ms: int


_RETRY_MIN_MS, _RETRY_MAX_MS = 10, 60_000
_STREAM_RETRY_MS = 1_000


class _Bucket:
    """Fills at a rate up to a burst. May be overdrawn once: what is larger than the burst passes, and is paid back after."""

    def __init__(self, rate: float | None, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._filled_s = float(burst), -math.inf

    def wait_ms(self, now_s: float) -> int:
        """0 if something may be taken now."""
        if self._rate is None:
            return 0
        if now_s > self._filled_s:
            self._level = min(self._burst, self._level + (now_s - self._filled_s) * self._rate)
            self._filled_s = now_s
        if self._level >= 1:
            return 0
        return min(max(math.ceil((1 - self._level) / self._rate * 1000), _RETRY_MIN_MS), _RETRY_MAX_MS)

    def take(self, amount: int) -> None:
        self._level -= amount


class Allowance:
    """What is left of a caller's quota."""

    def __init__(self, quota: QuotaSettings) -> None:
        self.quota = quota
        self._requests = _Bucket(quota.requests_per_second, quota.requests_burst)
        self._bytes = _Bucket(quota.bytes_per_second, quota.bytes_burst)
        self._streams = 0

    def take(self, size_bytes: int, now_s: float) -> Refusal | None:
        """Counts one exchange, unless there is no room for it. A refused one costs nothing."""
        for bucket, why in ((self._requests, "caller_requests"), (self._bytes, "caller_bytes")):
            if wait_ms := bucket.wait_ms(now_s):
                return Refusal(why, wait_ms)
        self._requests.take(1)
        self._bytes.take(size_bytes)
        return None

    def charge(self, size_bytes: int) -> None:
        """Counts bytes of a completion that is being written: they are taken from what comes after it."""
        self._bytes.take(size_bytes)

    @contextmanager
    def stream(self) -> Iterator[Refusal | None]:
        """Counts a stream while it is open; gives the refusal if it is one too many."""
        limit = self.quota.streams_max
        self._streams += 1
        try:
            yield None if limit is None or self._streams <= limit else Refusal("caller_streams", _STREAM_RETRY_MS)
        finally:
            self._streams -= 1


UNLIMITED = Allowance(QuotaSettings())
