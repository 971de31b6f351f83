"""Servers that end: asked to, killed, or not able to start again."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc

from faults.judging import Expected
from faults.kind import Kind
from faults.signals import DOWN, log
from faults.traffic import DEADLINE_S
from faults.world import World

BUNDLE_ERROR = 1
TAKEN_OVER = Expected(released_share_min=0.9, recovery_s_max=15.0)


@contextmanager
def drained(world: World) -> Iterator[None]:
    """SIGTERM; somebody starts it again."""
    world.server.signal(signal.SIGTERM)
    try:
        yield
        world.notes.append(f"exit code {world.server.ended(15)}")
    finally:
        world.server.revive()


@contextmanager
def killed(world: World) -> Iterator[None]:
    """SIGKILL; somebody starts it again."""
    world.server.close()
    try:
        yield
    finally:
        world.server.revive()


@contextmanager
def bundle_corrupt(world: World) -> Iterator[None]:
    """A byte of a model is another one when the server starts again: it must not."""
    server = world.server
    server.close()
    model = server.bundle / "alpha.json"
    sound = model.read_text()
    model.write_text(sound.replace("0.99", "0.09"))
    try:
        server.start()
        code = server.ended(30)
        if code != BUNDLE_ERROR:
            raise RuntimeError(f"a server with a corrupt bundle ended with {code}")
        world.notes.append(server.log.strip().splitlines()[-1].replace(f"{server.folder}/", "")[:120])
        yield
    except subprocess.TimeoutExpired:
        raise RuntimeError("a server with a corrupt bundle runs") from None
    finally:
        server.close()
        model.write_text(sound)
        server.revive()


@contextmanager
def bad_method(world: World) -> Iterator[None]:
    """A caller asks for a method whose name is not UTF-8, at which gRPC closes the port; the server must end, not linger."""
    with grpc.insecure_channel(world.server.target) as channel, suppress(grpc.RpcError):
        channel.unary_unary(b"/\xff")(b"", timeout=DEADLINE_S)  # type: ignore[arg-type]
    try:
        world.notes.append(f"exit code {world.server.ended(15)}")
        yield
    finally:
        world.server.close()
        world.server.revive()


PROCESS_KINDS = (
    Kind("sigterm_under_load", "one of two servers is asked to end, and starts again later", "pair", drained,
         (DOWN, log("draining")), TAKEN_OVER),
    Kind("sigkill_under_load", "one of two servers is killed, and starts again later", "pair", killed,
         (DOWN,), TAKEN_OVER),
    Kind("server_killed_alone", "the only server is killed, and starts again later", "plain", killed,
         (DOWN,), Expected(blind=True, recovery_s_max=20.0)),
    Kind("method_not_utf8", "a caller names a method in bytes that are no text, and gRPC closes the port", "plain",
         bad_method, (DOWN, log("has ended by itself")), Expected(blind=True, recovery_s_max=20.0)),
    Kind("bundle_corrupt", "the server is restarted and a model has changed on disk: it must not start", "plain",
         bundle_corrupt, (DOWN, log("alpha.json")), Expected(blind=True, recovery_s_max=20.0)),
)  # fmt: skip
