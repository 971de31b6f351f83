"""Watches files by their content, and takes no change before it has stayed as it is for a while: it may be half written."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from interlock_server.log import log_failure
from interlock_server.reload.opening import fingerprint


class Settling:
    """Pure: is told what the files are like and when, and says once of each change that it has settled."""

    def __init__(self, now: str, settle_s: float) -> None:
        self._taken = self._seen = now
        self._settle_s = settle_s
        self._since_s = 0.0

    def settled(self, seen: str, now_s: float) -> bool:
        """Whether there is a change that has stayed as it is for long enough, and was not taken yet."""
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        if seen == self._taken or now_s - self._since_s < self._settle_s:
            return False
        self._taken = seen
        return True


async def watch(
    files: Callable[[], tuple[Path, ...]], look_s: float, settle_s: float, reload: Callable[[str], Awaitable[object]]
) -> None:
    """Looks at the files until it is cancelled. A change that is refused is not tried again until there is another one."""
    settling = Settling(await asyncio.to_thread(fingerprint, files()), settle_s)
    while True:
        await asyncio.sleep(look_s)
        try:
            if settling.settled(await asyncio.to_thread(fingerprint, files()), time.monotonic()):
                await reload("watch")
        except Exception as error:  # whatever it was, the next look may see better
            log_failure("watch", error)
