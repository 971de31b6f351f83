"""What a replay has finished, in a file, so that it goes on from there however it ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
from interlock_server.errors import ConfigError

from interlock_lab.replay.engines import Tallies
from interlock_lab.replay.tally import Tally

SAVING_SHARE_MAX = 0.05
"""Of the time of a run."""


class _State(msgspec.Struct):
    plan: str
    """The digest of everything that the tally depends on."""
    done: list[int]
    tally: Tally


class Checkpoint:
    """The units that are done and their tally; kept in memory only when there is no `path`.

    Raises ConfigError when the file is of another plan, or no such file.
    """

    def __init__(self, path: Path | None, plan: str) -> None:
        self.done: set[int] = set()
        self.tally = Tally()
        self._path = path
        self._plan = plan
        self._due_s = time.monotonic()
        if path is not None and path.exists():
            self._load(path)

    def collect(self, tallies: Tallies, told: Callable[[int, Tally], None] = lambda number, part: None) -> Tally:
        """Adds up the units as they are finished, telling of each; what was finished is kept however it ends."""
        try:
            with closing(tallies):
                for number, part in tallies:
                    self.add(number, part)
                    told(number, part)
        finally:
            self.save()
        return self.tally

    def add(self, number: int, tally: Tally) -> None:
        """One more unit."""
        self.done.add(number)
        self.tally.merge(tally)
        if time.monotonic() >= self._due_s:
            self.save()

    def save(self) -> None:
        """Replaces the file, at once or not at all."""
        if self._path is None:
            return
        begun_s = time.monotonic()
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("wb") as file:
            file.write(msgspec.msgpack.encode(_State(self._plan, sorted(self.done), self.tally)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        ended_s = time.monotonic()
        self._due_s = ended_s + (ended_s - begun_s) / SAVING_SHARE_MAX

    def _load(self, path: Path) -> None:
        try:
            state = msgspec.msgpack.decode(path.read_bytes(), type=_State)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--resume: {path} holds no progress of a replay ({type(error).__name__})") from None
        if state.plan != self._plan:
            raise ConfigError(f"--resume: {path} is of another log, or of other arguments; name another file")
        self.done, self.tally = set(state.done), state.tally
