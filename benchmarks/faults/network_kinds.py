"""What the network and its users do: connections that break, stand, crawl or are far too many, and more than can be served."""

from collections.abc import Iterator
from contextlib import contextmanager

from faults.judging import Expected
from faults.kind import Fault, Kind
from faults.pressure import deaf_callers, idle_connections, poisoners, trickling_callers
from faults.proxy import Mode
from faults.signals import Signal, metric
from faults.traffic import Plan
from faults.world import World

ENDED = "'utf-8' codec can't decode byte"
FEWER = Signal("grpc_server_started_total", fell=True)
CANCELLED = metric("grpc_server_handled_total", grpc_code="Cancelled")
FILES = metric("process_open_fds", by=50)


def network(mode: Mode) -> Fault:
    """It does this to every connection."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        before = world.between.spoiled
        world.between.mode = mode
        try:
            yield
        finally:
            world.between.mode = "pass"
        _check(world, before)
        if (
            ENDED in world.server.log
        ):  # noise in the name of a method closes gRPC's port, and the server ends to be restarted
            world.server.ended(15)
            world.server.revive()
            world.notes.append("the server ended, and was restarted")

    return fault


@contextmanager
def half_open(world: World) -> Iterator[None]:
    """The connections of now are dead without anybody being told, for good; new ones are dead too, until the fault is over."""
    before = world.between.spoiled
    world.between.mode = "silent"
    try:
        yield
    finally:
        world.between.forget()
        world.between.mode = "pass"
    _check(world, before)


def _check(world: World, before: int) -> None:
    if world.between.spoiled == before:
        raise RuntimeError("nothing passed through the proxy")
    world.notes.append(f"{world.between.spoiled - before} times")


@contextmanager
def overload(world: World) -> Iterator[None]:
    """Each call of a member takes so long that a third of the requests can be served at most."""
    for name in ("alpha", "beta", "gamma"):
        world.server.script(name, mode="slow", seconds=0.01)
    try:
        yield
    finally:
        world.server.heal()


UNTOUCHED = Expected(released_share_min=0.9)
RECONNECT = Expected(recovery_s_max=15.0)
LOST = Expected(recovery_s_max=45.0)
"""A connection that is there and leads nowhere: callers find out by a ping, after 5 s, or after 35 s when little is asked."""
REFUSED = (metric("interlock_verdicts_total", reason="OVERLOADED"), metric("interlock_admission_refused_total"))
NETWORK_KINDS = (
    Kind("connection_reset", "every connection is reset every 200 ms", "proxied", network("reset"),
         (CANCELLED, FEWER), RECONNECT),
    Kind("network_silent", "nothing passes, and connections stay", "proxied", network("silent"),
         (FEWER, CANCELLED), Expected(blind=True, recovery_s_max=15.0)),
    Kind("network_delay", "every packet takes 100 ms longer", "proxied", network("delay"), (FEWER,),
         Expected(released_share_min=0.3)),
    Kind("network_truncates", "one packet of 20 is cut in half, and its connection ends", "proxied",
         network("truncate"), (CANCELLED, FEWER), RECONNECT),
    Kind("network_corrupts", "eight bytes of every fiftieth packet are noise", "proxied", network("corrupt"),
         (CANCELLED, FEWER), LOST, Plan(digest_guards=True)),
    Kind("network_throttled", "1,000 bytes a second pass through a connection", "proxied", network("throttle"),
         (FEWER, CANCELLED), RECONNECT),
    Kind("half_open", "old connections lead nowhere, for ever and untold; new ones work when the fault is over",
         "proxied", half_open, (FEWER,), Expected(blind=True, recovery_s_max=45.0)),
    Kind("overload", "a third of the requests can be served; the queue is short", "narrow", overload, REFUSED,
         Expected(released_share_min=0.02), Plan(callers=160)),
    Kind("slow_callers", "200 callers send a byte now and then and never a whole request", "plain", trickling_callers,
         (FILES,), UNTOUCHED),
    Kind("deaf_callers", "callers ask for large batches and do not read the answers", "plain", deaf_callers,
         (metric("grpc_server_started_total", grpc_method="ScreenBatch"),), Expected(released_share_min=0.2)),
    Kind("idle_connections", "10,000 connections (2,000 in a quick run) on which nothing happens", "plain",
         idle_connections, (FILES,), UNTOUCHED),
    Kind("cache_poisoning", "another caller asks first, cut elsewhere, and while a member fails", "cached", poisoners,
         (metric("interlock_evidence_cache_total", result="miss"),)),
)  # fmt: skip
