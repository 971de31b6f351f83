"""Whether and when to ask a second time. No I/O: the client is told how long to wait, or not to.

There is one retry at most, after UNAVAILABLE or a retryable verdict, within the deadline of the call, and only while
the servers answer most of the calls: retries must not feed an outage (the throttle of gRFC A6).
"""

import math
import random
import threading
from collections.abc import Collection
from dataclasses import dataclass

from .errors import LocalReason, SettingsError
from .verdict import Verdict

# With less than that left, a second attempt would only become a missed deadline.
ATTEMPT_S_MIN = 0.02


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    """A failed attempt costs one token, an answered one gives `tokens_back`; no retry at half of `tokens_max` or below.

    `backoff_s` is the wait, give or take half, where the server named none.
    """

    backoff_s: float = 0.05
    tokens_max: float = 100.0
    tokens_back: float = 0.1

    def __post_init__(self) -> None:
        values = (self.backoff_s, self.tokens_max, self.tokens_back)
        if not all(isinstance(value, int | float) and math.isfinite(value) and value >= 0 for value in values):
            raise SettingsError("retry settings must be finite and not negative")


class TokenBucket:
    """The throttle that all calls of a client share. Thread-safe."""

    def __init__(self, settings: RetrySettings | None) -> None:
        self._settings = settings or RetrySettings()
        self._tokens = self._settings.tokens_max
        self._lock = threading.Lock()

    @property
    def allows_retry(self) -> bool:
        return self._tokens > self._settings.tokens_max / 2

    def record(self, verdicts: Collection[Verdict]) -> None:
        """Counts one attempt. A refusal, say, is neither an outage nor the proof that there is none."""
        answered = any(not verdict.local for verdict in verdicts)
        failed = any(worth_retrying(verdict) for verdict in verdicts)
        change = -1.0 if failed else self._settings.tokens_back if answered else 0.0
        with self._lock:
            self._tokens = min(max(self._tokens + change, 0.0), self._settings.tokens_max)


def worth_retrying(verdict: Verdict) -> bool:
    """An outage that another server, or a moment, may end. A missed deadline is none: no time is left to retry in."""
    return verdict.retryable and (not verdict.local or LocalReason.UNREACHABLE in verdict.reasons)


def retry_wait_s(failed: Collection[Verdict], left_s: float, settings: RetrySettings | None) -> float | None:
    """How long to wait before these verdicts are asked for again; None: they stand."""
    if settings is None or not failed:
        return None
    backoff_s = settings.backoff_s * random.uniform(0.5, 1.5)  # spread, so that clients do not come back as one
    wait_s = max(backoff_s, *(verdict.retry_after_s for verdict in failed))
    return wait_s if wait_s + ATTEMPT_S_MIN <= left_s else None


def better(first: Verdict, second: Verdict) -> Verdict:
    """The later verdict, unless the server spoke only in the earlier one."""
    return first if second.local and not first.local else second
