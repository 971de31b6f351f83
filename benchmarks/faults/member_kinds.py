"""Members that fail: scripted ones, which do whatever is wanted of them, and one on a real Triton server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faults.judging import Expected
from faults.kind import Fault, Kind
from faults.models import REMOTE
from faults.pressure import crowd_at_triton
from faults.signals import DOWN, Signal, log, metric
from faults.traffic import Plan
from faults.world import World

BROKEN = "alpha"
BLIND = Expected(blind=True)
FLAP_S = 0.05
OPEN = metric("interlock_breaker_state", member=BROKEN)


def missing(cause: str, member: str = BROKEN) -> Signal:
    """The counter of members without evidence."""
    return metric("interlock_missing_total", member=member, cause=cause)


def scripted(**script: Any) -> Fault:
    """A member does this until it is healed."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.server.script(BROKEN, **script)
        try:
            yield
        finally:
            world.server.heal()

    return fault


@contextmanager
def flapping(world: World) -> Iterator[None]:
    """Members fail and come back, in turn, in every way."""
    modes: list[dict[str, Any]] = [{"mode": "crash"}, {}, {"mode": "nan"}, {}, {"mode": "slow", "seconds": 5.0}, {}]
    over = threading.Event()

    def flap() -> None:
        place = 0
        while not over.wait(FLAP_S):
            world.server.script(("alpha", "beta", "gamma")[place // len(modes) % 3], **modes[place % len(modes)])
            place += 1

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        world.server.heal()


@contextmanager
def lanes_lost(world: World) -> Iterator[None]:
    """A member hangs until so many lanes are lost that the server ends; then somebody restarts it."""
    world.server.script(BROKEN, mode="hang")
    try:
        yield
        world.notes.append(f"exit code {world.server.ended(10)}")
    finally:
        world.server.heal()
        world.server.revive()


def on_triton(begin: Callable[[World], object], end: Callable[[World], object]) -> Fault:
    """Something is done to the Triton server, and undone."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        begin(world)
        try:
            yield
        finally:
            end(world)

    return fault


def member_kind(name: str, does: str, sees: str, **script: Any) -> Kind:
    """A scripted member that does something wrong."""
    return Kind(name, does, "plain", scripted(**script), (missing(sees), OPEN), BLIND)


def triton_kind(name: str, does: str, fault: Fault, *causes: str, world: str = "triton", **expected: Any) -> Kind:
    """A fault of the Triton server."""
    sees = tuple(missing(cause, REMOTE) for cause in causes)
    wanted = Expected(**{"blind": True, "recovery_s_max": 20.0, **expected})
    return Kind(name, does, world, fault, sees, wanted, Plan(callers=12, rate_per_s=100.0))


MEMBER_KINDS = (
    member_kind("member_crash", "a member raises an exception", "FAILED", mode="crash"),
    member_kind("member_nan", "a member's scores are no numbers", "INVALID", mode="nan"),
    member_kind("member_infinite", "a member's scores are minus infinity", "INVALID", mode="infinite"),
    member_kind("member_out_of_range", "a member's scores are below 0", "INVALID", mode="out_of_range"),
    member_kind("member_wrong_shape", "a member forgets a category", "INVALID", mode="wrong_shape"),
    member_kind("member_too_few_rows", "a member forgets a window", "INVALID", mode="too_few_rows"),
    member_kind("member_slow", "a member takes longer than there is time", "TIMED_OUT", mode="slow", seconds=30.0),
    member_kind("member_hang", "a member hangs and cannot be stopped", "TIMED_OUT", mode="hang"),
    Kind("member_flapping", "members fail and come back every 50 ms", "plain", flapping, (missing("FAILED"),)),
    Kind(
        "lanes_lost", "so many lanes hang that the server ends, and is restarted later", "few_lanes_lost", lanes_lost,
        (metric("interlock_lanes_lost"), log("too many lanes hang"), DOWN), Expected(blind=True, recovery_s_max=20.0),
    ),
)  # fmt: skip
TRITON_KINDS = (
    triton_kind(
        "triton_stopped", "Triton's process stands still (SIGSTOP)",
        on_triton(lambda world: world.models.server.pause(), lambda world: world.models.server.go_on()),
        "TIMED_OUT", "FAILED",
    ),
    triton_kind(
        "triton_empty_tensors", "Triton answers OK with tensors that are empty",
        on_triton(lambda world: world.models.empty(True), lambda world: world.models.empty(False)), "INVALID",
    ),
    triton_kind(
        "triton_model_unloaded", "the model is unloaded from a Triton server that runs on",
        on_triton(lambda world: world.models.unload(), lambda world: world.models.load()), "FAILED",
    ),
    triton_kind(
        "triton_queue_full", "Triton's model is slow, and others keep its queue full", crowd_at_triton,
        "OVERLOADED", world="triton_queued", blind=False,
    ),
    triton_kind(
        "triton_draining", "Triton drains (SIGTERM) and is started again later",
        on_triton(lambda world: world.models.drain(), lambda world: world.models.start()), "FAILED", blind=False,
    ),
    triton_kind(
        "triton_killed", "Triton is killed (SIGKILL) and started again later",
        on_triton(lambda world: world.models.server.kill(), lambda world: world.models.start()), "FAILED",
    ),
)  # fmt: skip
