"""Callers: threads that ask a server again and again until they are left."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count

import grpc
from end_to_end.server import PATIENT_S, Server, request
from fakes import BENIGN, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb

MURMURED = "They murmured something."
OBJECTED = "He objected."
DISGUISED = "She pou\u200bred two cups of te\u0430 and sat down."
_PAUSE_S = 0.05
_SORTS = {1: MURMURED, 3: HARMFUL, 5: DISGUISED, 7: OBJECTED}

Ask = Callable[[Server, int], object]


@contextmanager
def asking(server: Server, ask: Ask) -> Iterator[None]:
    """A caller, who lives with errors."""
    left = threading.Event()

    def run() -> None:
        for number in count():
            with suppress(grpc.RpcError):
                ask(server, number)
            if left.wait(_PAUSE_S):
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join(PATIENT_S)


def screen(server: Server, number: int) -> object:
    """What is benign."""
    return server.screen(_benign(number))


def screen_all_sorts(server: Server, number: int) -> object:
    """Half of what is harmful by a caller in observe mode."""
    observed = {"enforcement": pb.ENFORCEMENT_OBSERVE} if number % 20 == 3 else {}
    return server.screen(all_sorts(number), prompt=f"prompt {number}", **observed)


def all_sorts(number: int) -> str:
    """Of ten texts one is harmful, one a little suspect, one disputed and one disguised."""
    return _SORTS.get(number % 10, _benign(number))


def write_slowly(server: Server, number: int) -> object:
    """A completion, sentence by sentence; every fifth one ends badly."""
    texts = [BENIGN, BENIGN, BENIGN, BENIGN if number % 5 else HARMFUL]
    chunks = [pb.ScreenStreamRequest(chunk=f"{text} ".encode()) for text in texts]
    start = pb.ScreenStreamRequest(start=pb.ScreenStreamStart())
    end = pb.ScreenStreamRequest(end=pb.ScreenStreamEnd())
    return list(server.stub.ScreenStream(iter([start, *chunks, end]), timeout=PATIENT_S))


def choose(server: Server, number: int) -> object:
    """Of two."""
    candidates = [_benign(number).encode(), HARMFUL.encode()]
    return server.stub.Select(pb.SelectRequest(candidates=candidates), timeout=PATIENT_S)


def crowd(server: Server, number: int) -> object:
    """Forty at once."""
    texts = [_benign(1_000 * number + each) for each in range(40)]
    calls = [server.stub.Screen.future(request(text), timeout=PATIENT_S) for text in texts]
    return [call.result() for call in calls]


def _benign(number: int) -> str:
    return f"{BENIGN} Number {number}."
