"""When to stop asking a member that keeps failing, and when to try again. Pure: the time is a parameter.

States: closed (asked), open (not asked until a time), half open (one probe is under way).
"""

from dataclasses import dataclass, replace

CLOSED, HALF_OPEN, OPEN = 0, 1, 2


@dataclass(frozen=True)
class Breaker:
    """An immutable breaker: every event returns the next one. Opens after `failures_max` failures in a row."""

    failures_max: int
    open_s: float
    failures: int = 0
    open_until_s: float = 0.0
    probing: bool = False

    def state(self, now_s: float) -> int:
        """CLOSED, HALF_OPEN or OPEN, as exported in metrics."""
        if self.failures < self.failures_max:
            return CLOSED
        return OPEN if self.probing or now_s < self.open_until_s else HALF_OPEN

    def ask(self, now_s: float) -> tuple["Breaker", bool]:
        """Whether the member may be asked now; when half open, the one who asks is the probe."""
        state = self.state(now_s)
        if state == HALF_OPEN:
            return replace(self, probing=True), True
        return self, state == CLOSED

    def succeeded(self) -> "Breaker":
        """A good answer closes the breaker."""
        return Breaker(self.failures_max, self.open_s) if self.failures else self

    def failed(self, now_s: float) -> "Breaker":
        """A bad answer, or none in time."""
        return replace(self, failures=self.failures + 1, open_until_s=now_s + self.open_s, probing=False)

    def abandoned(self) -> "Breaker":
        """The question was withdrawn before an answer: no news, but a probe is no longer under way."""
        return replace(self, probing=False)
