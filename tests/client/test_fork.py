"""Clients and os.fork: pre-forking servers construct, and sometimes use, their clients before they fork."""

import os
import subprocess
import sys

from . import fake_service
from .conftest import Serve

# Runs in a process of its own, because a fork of a test process that holds gRPC servers is nobody's use case.
SCRIPT = """
import asyncio, os, signal, sys, threading, time
from interlock_client import {kind}

client = {kind}(targets=sys.argv[1], timeout_s=float(sys.argv[2]))

def screen():
    verdict = client.screen(completion="hello")
    verdict = asyncio.run(verdict) if asyncio.iscoroutine(verdict) else verdict
    print("RELEASED" if verdict else verdict.reasons[0], flush=True)

if "use-before" in sys.argv:
    screen()
if "in-flight" in sys.argv:
    threading.Thread(target=client.screen, kwargs=dict(completion="hello"), daemon=True).start()
    time.sleep(1)
child = os.fork()
if child == 0:
    signal.alarm(30)
    screen()
    screen()
    os._exit(0)
os.waitpid(child, 0)
screen()
os._exit(0)
"""


def run(kind: str, *arguments: str, script: str = SCRIPT, **environment: str) -> list[str]:
    """What parent, child (twice) and parent print."""
    command = [sys.executable, "-c", script.replace("{kind}", kind), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_child_opens_a_channel_of_its_own(serve: Serve) -> None:
    """After a fork parent and child both go on, each over its own connection."""
    service = serve(fake_service.release)

    assert run("SafetyFilter", service.target, "10", "use-before") == ["RELEASED"] * 4
    before, child, again, after = (call.peer for call in service.calls)
    assert (before, child) == (after, again)
    assert before != child


def test_client_of_the_parent_is_first_used_in_the_child(serve: Serve) -> None:
    """A client that was only constructed before the fork works in both, asyncio or not."""
    service = serve(fake_service.release)

    for kind in ("SafetyFilter", "AsyncSafetyFilter"):
        assert run(kind, service.target, "10") == ["RELEASED"] * 3


def test_asyncio_client_does_not_survive_a_fork(serve: Serve) -> None:
    """grpc.aio hangs or aborts in the child of a process that used it, so there the client withholds at once."""
    service = serve(fake_service.release)
    printed = run("AsyncSafetyFilter", service.target, "10", "use-before")

    assert printed == ["RELEASED", "FORKED", "FORKED", "RELEASED"]


def test_fork_under_a_call(serve: Serve) -> None:
    """A fork while a call is in flight leaves the child a gRPC that may crash, so there the client withholds at once."""
    service = serve(fake_service.release, fake_service.hang, fake_service.release)
    printed = run("SafetyFilter", service.target, "10", "use-before", "in-flight")

    assert ["RELEASED", "FORKED", "FORKED", "RELEASED"] == printed


def test_child_without_fork_support_ends_in_time(serve: Serve) -> None:
    """Where gRPC's fork support is off, its core is dead in the child: the deadline holds nevertheless."""
    service = serve(fake_service.release)
    printed = run("SafetyFilter", service.target, "1", "use-before", GRPC_ENABLE_FORK_SUPPORT="0")

    assert printed == ["RELEASED", "DEADLINE", "DEADLINE", "RELEASED"]


GUARD_SCRIPT = """
import os, signal, sys, threading
from interlock_client import SafetyFilter

client = SafetyFilter(targets=sys.argv[1], timeout_s=10.0)

def guarded(source=("One fish. ", "Two fish.")):
    return client.guard(source, on_withheld="fallback", fallback="WITHHELD", timeout_s=float(sys.argv[2]))

def say(guard):
    print("RELEASED" if "".join(guard) == "One fish. Two fish." else guard.verdict.reasons[0], flush=True)

go_on = threading.Event()

def source():
    yield "One fish. "
    go_on.wait(30)
    yield "Two fish."

if "use-before" in sys.argv:
    say(guarded())
under_way = guarded(source())
if "in-flight" in sys.argv:
    next(under_way)
child = os.fork()
if child == 0:
    signal.alarm(30)
    say(under_way if "in-flight" in sys.argv else guarded())
    say(guarded())
    os._exit(0)
os.waitpid(child, 0)
go_on.set()
print("".join(under_way).endswith("Two fish."), flush=True)
os._exit(0)
"""


def test_guards_in_a_child(serve: Serve) -> None:
    """They open a channel of their own there, as other calls do."""
    printed = run("", serve().target, "10", "use-before", script=GUARD_SCRIPT)

    assert ["RELEASED", "RELEASED", "RELEASED", "True"] == printed


def test_fork_under_a_guard(serve: Serve) -> None:
    """In the child it withholds, and so does what comes after it; in the parent it goes on."""
    printed = run("", serve().target, "10", "in-flight", script=GUARD_SCRIPT)

    assert ["FORKED", "FORKED", "True"] == printed


def test_guards_without_fork_support_end_in_time(serve: Serve) -> None:
    """Where gRPC is dead in the child, the deadline of a guard holds nevertheless."""
    service = serve()
    printed = run("", service.target, "1", "use-before", script=GUARD_SCRIPT, GRPC_ENABLE_FORK_SUPPORT="0")

    assert ["RELEASED", "DEADLINE", "DEADLINE", "True"] == printed
