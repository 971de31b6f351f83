"""What the machine does to the server: its disk, its clock, its memory, its files, its time on the processor."""

import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.judging import Expected
from faults.kind import Fault, Kind
from faults.pressure import large_requests
from faults.signals import DOWN, Signal, log, metric
from faults.world import World

UNRECORDED = metric("interlock_verdicts_total", reason="AUDIT_FAILED")
UNHEALTHY = metric("interlock_audit_healthy")
FAILED = metric("interlock_audit_records_total", result="failed")
FILES_MAX = 8
SPARE_BYTES = 4 * 1024 * 1024
SLOW_WRITE_S = 0.3
STALL_S, STALL_EVERY_S = 2.0, 2.5


@contextmanager
def disk_full(world: World) -> Iterator[None]:
    """No file of the server may grow any more."""
    world.server.limit(resource.RLIMIT_FSIZE, 1)
    try:
        yield
    finally:
        world.server.limit(resource.RLIMIT_FSIZE, None)


@contextmanager
def disk_read_only(world: World) -> Iterator[None]:
    """The log and its files cannot be changed; where not even root can do that, the writes fail as if it were so."""
    folder = world.server.log_folder
    if _immutable("+i", folder):
        world.notes.append("chattr +i")
    else:
        world.server.switch(read_only=True)
        world.notes.append("played: every write fails with EROFS")
    try:
        yield
    finally:
        _immutable("-i", folder)
        world.server.switch()


def _immutable(flag: str, folder: Path) -> bool:
    if shutil.which("chattr") is None:
        return False
    return not subprocess.run(["chattr", "-R", flag, str(folder)], stderr=subprocess.DEVNULL, check=False).returncode


@contextmanager
def disk_slow(world: World) -> Iterator[None]:
    """Each write takes long."""
    world.server.switch(write_s=SLOW_WRITE_S)
    try:
        yield
    finally:
        world.server.switch()


def clock(days: float) -> Fault:
    """It jumps, and back again."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.server.switch(clock_days=days)
        try:
            yield
        finally:
            world.server.switch()

    return fault


@contextmanager
def memory(world: World) -> Iterator[None]:
    """Next to none is left, and callers send large texts."""
    pages = int(Path(f"/proc/{world.server.pid}/statm").read_text().split()[0])
    world.server.limit(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + SPARE_BYTES)
    try:
        with large_requests(world):
            yield
        world.notes.append("the server lives" if world.server.alive() else f"exit code {world.server.ended(0)}")
    finally:
        world.server.limit(resource.RLIMIT_AS, None)
        world.server.revive()


@contextmanager
def files(world: World) -> Iterator[None]:
    """Not one more can be opened, and no connection either."""
    world.server.limit(resource.RLIMIT_NOFILE, FILES_MAX)
    try:
        yield
    finally:
        world.server.limit(resource.RLIMIT_NOFILE, None)


@contextmanager
def stopped(world: World) -> Iterator[None]:
    """The process stands still."""
    world.server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        world.server.signal(signal.SIGCONT)


@contextmanager
def stalling(world: World) -> Iterator[None]:
    """A blocking call on the event loop, and after a breath another one."""
    with _repeatedly(STALL_EVERY_S, lambda number: world.server.switch(stall_s=STALL_S, number=number)):
        yield
    world.server.switch()


@contextmanager
def _repeatedly(every_s: float, act: Callable[[int], None]) -> Iterator[None]:
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while True:
            act(number := number + 1)
            if over.wait(every_s):
                return

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def jumped() -> Signal:
    """The certificate is suddenly older, or younger."""
    return metric("interlock_certificate_age_seconds", by=3_600)


REQUIRED = Expected(blind=True)
UNTOUCHED = Expected(released_share_min=0.9)
QUIET = Signal("grpc_server_handled_total", fell=True)
MACHINE_KINDS = (
    Kind("disk_full", "the disk of the audit log is full (mode required)", "audited", disk_full,
         (UNHEALTHY, FAILED, UNRECORDED), REQUIRED),
    Kind("disk_read_only", "the audit log is read-only (mode required)", "audited", disk_read_only,
         (UNHEALTHY, FAILED, UNRECORDED, log("the audit log cannot be written")), REQUIRED),
    Kind("disk_slow", "each write of the audit log takes 300 ms (mode required)", "audited", disk_slow,
         (metric("interlock_audit_queue"), UNRECORDED)),
    Kind("clock_forward", "the clock jumps two days ahead", "clock", clock(2), (jumped(),), UNTOUCHED),
    Kind("clock_backward", "the clock jumps two days back", "clock", clock(-2), (jumped(),), UNTOUCHED),
    Kind("certificate_lapsed", "the clock passes the certificate's end (certificate: require)", "clock", clock(400),
         (metric("interlock_certificate_valid"), metric("interlock_verdicts_total", reason="CERTIFICATE_INVALID")),
         REQUIRED),
    Kind("memory_pressure", "the address space is full and callers send large texts", "switched", memory,
         (DOWN, metric("grpc_server_handled_total", grpc_code="Unknown"), QUIET), Expected(recovery_s_max=20.0)),
    Kind("files_exhausted", "no file descriptor is left, and no new connection is taken", "switched", files,
         (DOWN,), Expected(released_share_min=0.5)),
    Kind("event_loop_stall", "the event loop blocks for 2 s, again and again", "switched", stalling, (QUIET,)),
    Kind("server_stopped", "the server's process stands still (SIGSTOP)", "switched", stopped, (DOWN,)),
)  # fmt: skip
