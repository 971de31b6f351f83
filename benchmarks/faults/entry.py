"""`interlock serve` with a switch: a file turns on what no operating system plays on demand. `entry.py SWITCH --config FILE`.

{"stall_s": 2.0}        the event loop blocks once for so long, whenever the file changes
{"write_s": 0.3}        each write and sync of the audit log takes so long
{"read_only": true}     each of them fails as on a disk that is read-only
{"clock_days": 2}       the time of day is another one; timers go on, as the operating system's do
"""

import asyncio
import errno
import inspect
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop
from interlock_server.app import serve
from interlock_server.audit.files import RealFiles
from interlock_server.certification import Certification
from interlock_server.config import load_config
from interlock_server.log import configure

POLL_S, DAY_S = 0.02, 86_400


class Switch:
    """The file as it is now; watched by a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = ""
        self.faults: dict[str, Any] = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """For ever."""
        while True:
            time.sleep(POLL_S)
            now = self._path.read_text() if self._path.exists() else ""
            if now != self._before:
                self._before, self.faults = now, json.loads(now or "{}")
                loop.call_soon_threadsafe(time.sleep, float(self.faults.get("stall_s", 0)))

    def disk(self) -> None:
        """What the disk does before it does what it was asked for."""
        time.sleep(float(self.faults.get("write_s", 0)))
        if self.faults.get("read_only"):
            raise OSError(errno.EROFS, "Read-only file system")


class Clock:
    """The module `time` with another time of day. For the server's own modules: those of gRPC ask their clock in C too."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        """As time.time."""
        return time.time() + DAY_S * float(self._switch.faults.get("clock_days", 0))

    def time_ns(self) -> int:
        """As time.time_ns."""
        return int(self.time() * 1e9)


def main() -> None:
    """Serves as the command does."""
    switch = Switch(Path(sys.argv[1]))
    _set(Clock(switch))
    for operation in ("open", "write", "sync", "truncate"):
        setattr(RealFiles, operation, _behind(switch, getattr(RealFiles, operation)))

    def ready(port: int, http_port: int) -> None:
        threading.Thread(target=switch.watch, args=(asyncio.get_running_loop(),), daemon=True).start()

    settings = load_config(Path(sys.argv[3]))
    configure(settings.log_level)
    sys.setswitchinterval(0.0005)
    uvloop.run(serve(settings, ready))


def _set(clock: Clock) -> None:
    """Everywhere in the server, also where the function was taken as a default."""
    for name, module in list(sys.modules.items()):
        if name.startswith("interlock_server") and getattr(module, "time", None) is time:
            module.time = clock  # type: ignore[attr-defined]
    assert inspect.signature(Certification).parameters["clock"].default is time.time
    defaults = Certification.__init__.__defaults__ or ()
    Certification.__init__.__defaults__ = tuple(clock.time if each is time.time else each for each in defaults)


def _behind(switch: Switch, operation: Any) -> Any:
    def slower(*arguments: Any, **named: Any) -> Any:
        switch.disk()
        return operation(*arguments, **named)

    return slower


if __name__ == "__main__":
    main()
