"""Closed segments become Parquet in a process of their own, which yields to everything else; the log never waits for it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from interlock_server.log import log_event

_COMMAND = (sys.executable, "-m", "interlock_server", "audit", "seal")
_NICENESS = 19


class Sealer(Protocol):
    """What the log calls after it has closed a segment."""

    def begin(self, folder: Path) -> None:
        """Closed segments are there to be sealed; returns at once."""

    def tend(self) -> bool:
        """Whether something is still under way, and has to be tended again."""

    def close(self) -> None:
        """Ends what is under way; a segment that is not sealed now is sealed later."""


class SealingProcess:
    """`interlock audit seal`, one at a time: what is closed meanwhile is sealed by the next."""

    def __init__(self, command: Sequence[str] = _COMMAND, end_wait_s: float = 3.0) -> None:
        self._command = command
        self._end_wait_s = end_wait_s
        self._running: subprocess.Popen[bytes] | None = None

    def begin(self, folder: Path) -> None:
        """Starts a process, unless one runs."""
        if self.tend():
            return
        try:
            self._running = subprocess.Popen(
                [*self._command, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            os.setpriority(os.PRIO_PROCESS, self._running.pid, _NICENESS)
        except OSError as error:
            log_event("audit segments cannot be sealed", error=type(error).__name__)

    def tend(self) -> bool:
        """Buries the process, if it has ended."""
        if self._running is None or (code := self._running.poll()) is None:
            return self._running is not None
        if code:
            log_event("audit segments were not sealed", code=code)
        self._running = None
        return False

    def close(self) -> None:
        """Waits a few seconds for it, and no longer."""
        if self._running is None:
            return
        try:
            self._running.wait(self._end_wait_s)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self.tend()
