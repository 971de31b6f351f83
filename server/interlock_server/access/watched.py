"""Files that change under a running server. The last good content stays in force; a bad one is refused loudly."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from interlock_server.errors import InterlockError
from interlock_server.log import log_alarm, log_event
from interlock_server.metrics import Metrics

LOOK_S = 1.0

_Content = TypeVar("_Content")
_Signature = tuple[tuple[int, int, int, int] | None, ...]


class Watched(Generic[_Content]):
    """What some files hold. A bad one raises on construction, when there is nothing yet to go on with."""

    def __init__(self, name: str, paths: Sequence[Path], load: Callable[[], _Content], metrics: Metrics) -> None:
        self._name = name
        self._paths = paths
        self._load = load
        self._healthy = metrics.watched_file_healthy.labels(name)
        self._seen = self._signature()
        self.current = load()
        self._healthy.set(1)

    def look(self) -> None:
        """Reads the files again if they have changed."""
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature  # from before reading: what changes meanwhile is seen the next time
        try:
            self.current = self._load()
        except Exception as error:
            self._healthy.set(0)
            ours = isinstance(error, InterlockError)  # the message of any other may quote what is in the file
            log_alarm("file_refused", file=self._name, why=str(error) if ours else type(error).__name__)
        else:
            self._healthy.set(1)
            log_event("file_loaded", file=self._name)

    async def run(self) -> None:
        """Looks, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def _signature(self) -> _Signature:
        return tuple(map(_status, self._paths))


def _status(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:  # gone: a change like any other, and reading it will say why
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
