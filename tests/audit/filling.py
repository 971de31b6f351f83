"""A program: a log whose disk is full for a while, as the operating system plays it. Prints what was seen of it."""

import asyncio
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interlock_server.audit.log import AuditLog
from interlock_server.audit.settings import AuditSettings

from audit.disk import Counts, Seals, entry


def fill(folder: str, mode: str) -> None:
    """Files may not grow beyond a hundred bytes, until they may again."""
    counts = Counts()
    log = AuditLog.open(AuditSettings(folder=folder, mode=mode, text="full"), "test", counts, sealer=Seals())
    answers = [asyncio.run(log.write(entry(1)))]
    eventually(lambda: counts.records == 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    answers.append(asyncio.run(log.write(entry(2))))
    eventually(lambda: counts.failures == 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(lambda: counts.health[-1])
    answers.append(asyncio.run(log.write(entry(3))))
    asyncio.run(log.close())
    print(answers, counts.health)


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it does; whoever started the program has a limit."""
    while not holds():
        time.sleep(0.002)


if __name__ == "__main__":
    fill(sys.argv[1], sys.argv[2])
