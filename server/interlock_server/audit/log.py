"""The audit log as the event loop sees it: a queue with limits, and a thread that writes all that waits as one group."""

import asyncio
import fcntl
import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from interlock_server.audit.files import REAL_FILES, Files
from interlock_server.audit.keys import hash_key, key_id, public_key
from interlock_server.audit.recovery import recover
from interlock_server.audit.sealing import Sealer, SealingProcess
from interlock_server.audit.settings import AuditSettings
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit.writer import AuditInstruments, Entry, Surroundings, Writer
from interlock_server.errors import ConfigError
from interlock_server.log import log_event

__all__ = ["AuditInstruments", "AuditLog", "Entry"]

_GROUP_SIZE_MAX = 512
_QUEUED_BYTES_MAX = 64 * 1024 * 1024
_CLOSE_WAIT_S = 10.0
_Waiting = asyncio.Future[bool] | None


class AuditLog:
    """Of one folder, which it locks, for one event loop.

    In `required` a record is acknowledged once it is on disk. In `best_effort` it is not waited for: what was written survives
    the end of the process, however it ends, but of what the machine had not yet put on disk when it fails, all may be lost.
    """

    def __init__(self, writer: Writer, settings: AuditSettings, instruments: AuditInstruments, lock: int) -> None:
        self.required = settings.mode == "required"
        self.reserve_s = settings.commit_reserve_ms / 1000 if self.required else 0.0
        self._writer = writer
        self._instruments = instruments
        self._lock: int | None = lock
        self._queue: deque[tuple[Entry, _Waiting]] = deque()
        self._queue_size_max = settings.queue_size_max
        # One thread adds to the first, the other one to the second: neither needs a lock.
        self._put_bytes = self._taken_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        settings: AuditSettings,
        build: str,
        instruments: AuditInstruments,
        files: Files = REAL_FILES,
        sealer: Sealer | None = None,
    ) -> "AuditLog":
        """Begins a segment behind whatever is in the folder; raises ConfigError when it cannot be written or is in use."""
        folder = Path(settings.folder or "")
        if settings.folder is None:
            raise ConfigError("audit.folder: must be given")
        try:
            lock = _locked(folder)
            try:
                keeper, key = _keeper(settings, folder, files)
                sealer = sealer or SealingProcess()
                around = Surroundings(folder, settings, build, key, keeper, files, instruments, sealer)
                return cls(Writer(around, recover(folder, files)), settings, instruments, lock)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise ConfigError(f"audit.folder: {folder}: {error.strerror or type(error).__name__}") from error

    async def write(self, entry: Entry, until_s: float = float("inf"), awaited: bool = False) -> bool:
        """Records an entry; never raises.

        `required`: True once it is on disk, False when that failed, or did not happen by `until_s` (monotonic): it may
        happen later. `best_effort`: True at once; if it is to be `awaited`, as in `required`, but once it is written, not
        synced. In both, False when too many wait or the log is closed.
        """
        size = len(entry.prompt) + len(entry.completion)
        if self._closed or self._full(size):
            self._instruments.dropped()
            return False
        self._put_bytes += size
        if not (self.required or awaited):
            self._put(entry, None)
            return True
        loop = self._loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._put(entry, waiting)
        pause_s = until_s - time.monotonic()
        if not pause_s > 0:  # also when it is not a number
            return False
        timer = loop.call_later(pause_s, _settle, [(waiting, False)]) if pause_s < float("inf") else None
        try:
            return await waiting
        finally:
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Writes what waits, ends the segment, and gives the folder free. A disk that hangs is not waited for forever."""
        self._closed = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _CLOSE_WAIT_S)
        if self._thread.is_alive():
            log_event("the audit log could not be closed in time", queued=len(self._queue))
        elif self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _full(self, size: int) -> bool:
        queued_bytes = self._put_bytes - self._taken_bytes
        return len(self._queue) >= self._queue_size_max or queued_bytes + size > _QUEUED_BYTES_MAX

    def _put(self, entry: Entry, waiting: _Waiting) -> None:
        self._queue.append((entry, waiting))
        if not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        """What the thread does all its life."""
        pause_s, closing = self._writer.tend(), False
        while not closing:
            self._wake.wait(pause_s)
            self._wake.clear()  # first, so that what comes from now on wakes it again
            closing = self._closed  # first, so that nothing is put behind the last look at the queue
            pause_s = self._work()
        self._writer.close()

    def _work(self) -> float | None:
        """Writes all that waits, group by group; returns how long the thread may sleep."""
        pause_s = self._writer.tend()
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), _GROUP_SIZE_MAX))]
            self._taken_bytes += sum(len(entry.prompt) + len(entry.completion) for entry, _ in group)
            self._instruments.queued(len(self._queue))
            written = self._writer.write([entry for entry, _ in group])
            self._acknowledge(
                [(future, ok) for (_, future), ok in zip(group, written, strict=True) if future is not None]
            )
            pause_s = self._writer.tend()
        return pause_s

    def _acknowledge(self, settled: list[tuple[asyncio.Future[bool], bool]]) -> None:
        if settled and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[asyncio.Future[bool], bool]]) -> None:
    for waiting, written in settled:
        if not waiting.done():
            waiting.set_result(written)


def _locked(folder: Path) -> int:
    """A handle of the folder, which nobody else has as long as it is open; raises ConfigError or OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(f"audit.folder: {folder} is in use by another process") from None
    return handle


def _keeper(settings: AuditSettings, folder: Path, files: Files) -> tuple[TextKeeper, str]:
    """What traces texts, and the id of its key; raises ConfigError or OSError."""
    if settings.text == "none":
        return TextKeeper(), ""
    key = hash_key(settings, folder, files)
    if settings.text == "encrypted":
        return TextKeeper.sealing(key, public_key(settings), settings.text_shares), key_id(key)
    return TextKeeper(key, "full" if settings.text == "full" else "none", settings.text_shares), key_id(key)
