"""A program: a log is written under load by a process that is killed, again and again. Prints what had been acknowledged.

It forks, so that no round pays for starting Python; nothing here has started a thread by then.
"""

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interlock_server.audit.log import AuditLog
from interlock_server.audit.settings import AuditSettings

from audit.disk import Counts, Seals, entry

CALLERS = 16


async def write(folder: str, first: int, pipe: int) -> None:
    """Until it is killed."""
    settings = AuditSettings(folder=folder, mode="required", text="full", segment_bytes_max=64 * 1024)
    log = AuditLog.open(settings, "test", Counts(), sealer=Seals())
    numbers = count(first)

    async def call() -> None:
        for number in numbers:
            if await log.write(entry(number, completion=b"c" * 500)):
                os.write(pipe, b"%d\n" % number)

    await asyncio.gather(*(call() for _ in range(CALLERS)))


def crash(folder: str, number: int) -> list[int]:
    """One round: kills the writer after some acknowledgements, and gives all of them."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        try:
            asyncio.run(write(folder, number * 100_000, writing))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as acknowledged:
        lines = [acknowledged.readline() for _ in range(1 + number * 7 % 60)]
        os.kill(process, signal.SIGKILL)
        lines += acknowledged.readlines()
    os.waitpid(process, 0)
    return [int(line) for line in lines if line.endswith("\n")]


if __name__ == "__main__":
    for round_number in range(int(sys.argv[2])):
        print(*crash(sys.argv[1], round_number), sep="\n")
