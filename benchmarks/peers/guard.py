"""Runs a command and sees to it that nothing of it outlives this process, whatever session its children move to.

    python guard.py COMMAND...      SIGTERM ends it; so does the death of the process that started it

It gives the command a temporary folder (TMPDIR), which goes with it. As the "subreaper" it becomes the parent of every
descendant whose own parent ends, so that none gets out of sight.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUBREAPER, DEATH_SIGNAL = 36, 1  # of prctl(2)
GRACE_S, KILL_S = 15.0, 5.0


def main() -> int:
    """Returns 0 when it was asked to end, else 1: the command ended by itself."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(SUBREAPER, 1, 0, 0, 0)
    prctl(DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    with tempfile.TemporaryDirectory(prefix="peer", ignore_cleanup_errors=True) as folder:
        return watch(sys.argv[1:], {**os.environ, "TMPDIR": folder})


def watch(arguments: list[str], variables: dict[str, str]) -> int:
    """Runs the command until it ends or is to be ended, and ends whatever is left of it."""
    command = subprocess.Popen(arguments, env=variables, preexec_fn=unblock)
    asked = False
    while not asked and running(command.pid):
        asked = signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}) != signal.SIGCHLD
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, KILL_S)):
        end(command.pid, number, patience_s)
    return 0 if asked else 1


def unblock() -> None:
    """In the command's process: signals as usual."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})


def running(pid: int) -> bool:
    """Buries whoever has died, and says whether the process `pid` is still there."""
    while True:
        try:
            died, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if died == pid:
            return False
        if died == 0:
            return True


def end(first: int, number: signal.Signals, patience_s: float) -> None:
    """Signals the command, which ends its own children if it is well-behaved; SIGKILL goes to every descendant."""
    deadline_s = time.monotonic() + patience_s
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline_s:
        orphans = first not in pids
        for pid in pids if orphans or number is signal.SIGKILL else [first]:
            send(pid, number)
        first_round_s = min(deadline_s, time.monotonic() + 1.0)
        while descendants(os.getpid()) and time.monotonic() < first_round_s:
            running(first)
            time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    """Signals a process if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def descendants(pid: int) -> list[int]:
    """All processes under `pid`, as /proc tells."""
    return _under(pid, _parents())


def children(pid: int) -> list[int]:
    """The processes right under `pid`."""
    return [child for child, parent in _parents().items() if parent == pid]


def _under(pid: int, parents: dict[int, int]) -> list[int]:
    found = []
    for child in [child for child, parent in parents.items() if parent == pid]:
        found += [child, *_under(child, parents)]
    return found


def _parents() -> dict[int, int]:
    """The parent of every process; /proc/PID/task/TID/children, which would be simpler, is not in every kernel."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
