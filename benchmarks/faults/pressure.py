"""Callers who do harm without breaking a rule: large texts, connections without requests, answers unread, a poisoned cache."""

import asyncio
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from interlock.v1 import safety_filter_pb2 as pb
from tritonclient.grpc import service_pb2 as triton_pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonserver.repository import INPUTS

from faults.judging import Asked
from faults.models import MODEL, QUEUE_MAX
from faults.proxy import ChaosProxy
from faults.traffic import CHANNEL, DEADLINE_S, SCREEN, judged, texts
from faults.world import World

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and an empty SETTINGS frame
HEADERS = b"\0\1\0\1\0\0\0\0\1" + b"\x82" * 200  # a frame of 256 bytes that never comes to its end
BATCH = "/interlock.v1.SafetyFilterService/ScreenBatch"
LARGE_BYTES = 12 * 1024 * 1024
IDLE, IDLE_QUICK, QUICK_S = 10_000, 2_000, 4.0
TRICKLING, DEAF, POISONED = 200, 8, 24
STRANGER = "127.0.0.2"


@contextmanager
def large_requests(world: World) -> Iterator[None]:
    """Four callers send texts of megabytes, one after the other."""

    async def ask(over: asyncio.Event) -> None:
        request = pb.ScreenRequest(exchange=pb.Exchange(completion=random.randbytes(LARGE_BYTES))).SerializeToString()
        options = [*CHANNEL, ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(world.server.target, options) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SCREEN)
            while not over.is_set():
                with suppress(grpc.RpcError):
                    await call(request, timeout=DEADLINE_S)
                await asyncio.sleep(0.05)

    with _callers(world, 4, ask):
        yield


@contextmanager
def crowd_at_triton(world: World) -> Iterator[None]:
    """Others ask the slow model for so much that its queue is full."""
    request = triton_pb.ModelInferRequest(model_name=MODEL)
    for name in INPUTS:
        request.inputs.add(name=name, datatype="INT64", shape=[1, 4])
        request.raw_input_contents.append(bytes(4 * 8))

    async def ask(over: asyncio.Event) -> None:
        async with grpc.aio.insecure_channel(world.models.endpoint) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while not over.is_set():
                with suppress(grpc.RpcError):
                    await stub.ModelInfer(request, timeout=DEADLINE_S)
                await asyncio.sleep(0.01)

    world.models.server.slow_down(0.05)
    try:
        with _callers(world, 4 * QUEUE_MAX, ask):
            yield
    finally:
        world.models.server.slow_down(0)


@contextmanager
def deaf_callers(world: World) -> Iterator[None]:
    """They ask through a network that brings nothing back."""
    proxy = ChaosProxy(world.loop, world.server.target)
    proxy.mode = "deaf"
    chance = texts(11)
    exchanges = [pb.Exchange(completion=next(chance).completion.encode()) for _ in range(64)]
    request = pb.ScreenBatchRequest(exchanges=exchanges, detail=pb.DETAIL_FULL).SerializeToString()

    async def ask(over: asyncio.Event) -> None:
        async with grpc.aio.insecure_channel(proxy.target, CHANNEL) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(BATCH)
            while not over.is_set():
                with suppress(grpc.RpcError):
                    await call(request, timeout=DEADLINE_S)

    try:
        with _callers(world, DEAF, ask):
            proxy.mode = "pass"  # until they are connected
            time.sleep(0.2)
            proxy.mode = "deaf"
            yield
    finally:
        proxy.close()


@contextmanager
def trickling_callers(world: World) -> Iterator[None]:
    """A byte at a time, and never the last."""
    over = threading.Event()
    sockets = _connections(world, TRICKLING, PREFACE)

    def trickle() -> None:
        place = 0
        while not over.wait(0.05):
            for each in sockets:
                with suppress(OSError):
                    each.send(HEADERS[place % len(HEADERS) :][:1])
            place += 1

    with _working(trickle, over):
        yield
    _close(sockets)


@contextmanager
def idle_connections(world: World) -> Iterator[None]:
    """As many as the limits on open files allow, up to what is wanted."""
    wanted = IDLE_QUICK if world.seconds < QUICK_S else IDLE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    world.server.limit(resource.RLIMIT_NOFILE, None)
    sockets = _connections(world, min(wanted, hard - 500), PREFACE)
    world.notes.append(f"{len(sockets):,} connections")
    try:
        yield
    finally:
        _close(sockets)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def poisoners(world: World) -> Iterator[None]:
    """A stranger has every text judged before its owner asks: whole, while a member fails, and cut at another place."""
    proxy = ChaosProxy(world.loop, world.server.target, STRANGER)
    source = texts(23)

    async def poison(over: asyncio.Event) -> None:
        async with (
            grpc.aio.insecure_channel(proxy.target, CHANNEL) as stranger,
            grpc.aio.insecure_channel(world.server.target, CHANNEL) as owner,
        ):
            while not over.is_set():
                some = [next(source) for _ in range(POISONED)]
                world.server.script("alpha", mode="crash")
                await asyncio.gather(*(_asked(stranger, text.completion) for text in some))
                world.server.heal()
                for text in some:
                    half = text.completion.index(".") + 1
                    await _asked(stranger, text.completion[half:], text.completion[:half])
                    begun_s = time.monotonic()
                    answer = judged(text, await _asked(owner, text.completion))
                    at = (begun_s, time.monotonic())
                    world.extra.append(Asked(text.benign, *at, answer.released, answer.judged, True, answer.flaw))

    try:
        with _callers(world, 1, poison):
            yield
    finally:
        world.server.heal()
        proxy.close()


async def _asked(channel: grpc.aio.Channel, completion: str, prompt: str = "") -> pb.Verdict:
    exchange = pb.Exchange(completion=completion.encode(), prompt=prompt.encode())
    request = pb.ScreenRequest(exchange=exchange, detail=pb.DETAIL_FULL)
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SCREEN)
    try:
        answer = await call(request.SerializeToString(), timeout=DEADLINE_S)
    except grpc.RpcError:
        return pb.Verdict()
    return pb.ScreenResponse.FromString(answer).verdict


@contextmanager
def _callers(world: World, count: int, ask: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """So many tasks on the loop of the traffic, until the end."""

    async def begun() -> tuple[asyncio.Event, "asyncio.Task[list[None]]"]:
        over = asyncio.Event()

        async def all_of_them() -> list[None]:
            return await asyncio.gather(*(ask(over) for _ in range(count)))

        return over, asyncio.create_task(all_of_them())

    async def ended(over: asyncio.Event, asking: "asyncio.Task[list[None]]") -> None:
        over.set()
        await asking

    running = world.loop.run(begun())
    try:
        yield
    finally:
        world.loop.run(ended(*running))


@contextmanager
def _working(work: Callable[[], None], over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _connections(world: World, count: int, greeting: bytes) -> list[socket.socket]:
    host, _, port = world.server.target.rpartition(":")
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection((host, int(port)), 10))
        sockets[-1].sendall(greeting)
        sockets[-1].setblocking(False)
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
