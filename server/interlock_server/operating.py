"""What an operator asks of a running server, and what it answers. No file's content is in any of it."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from interlock_server.audit.record import Digests
from interlock_server.decision.evidence import CertificateState
from interlock_server.rollout import Tally


@dataclass(frozen=True)
class Outcome:
    """What became of a reload, a promotion or an abort. Unless it is `successful`, what was in force still is."""

    cause: str
    successful: bool
    error: str = ""
    notes: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    """Settings that were changed too, but only a restart puts in force."""
    at_unix_s: float = field(default_factory=time.time)


@dataclass(frozen=True)
class CanaryStatus:
    """The policy on trial."""

    name: str
    digest: str
    share: float
    certificate: CertificateState
    tally: Tally
    verdicts_min: int


@dataclass(frozen=True)
class Status:
    """What is in force."""

    digests: Digests
    certificate: CertificateState
    canary: CanaryStatus | None
    last: Outcome
    generations: int
    """Those in memory: more than one while calls still use what was in force before."""
    reloading: bool


class Operated(Protocol):
    """What can be reloaded."""

    def status(self) -> Status:
        """How it stands."""

    async def reload(self, cause: str) -> Outcome:
        """Reads all files again."""

    async def promote(self, force: bool) -> Outcome:
        """Puts the policy on trial in force."""

    async def abort(self) -> Outcome:
        """Ends the trial."""
