"""How one request reaches each kind of server: everything is serialised before the run, and answers are read after it.

A driver has `send(place, timeout_s)`, which returns the answer's bytes, or an Outcome where there is none, and `judge`.
"""

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import grpc
from interlock.v1 import safety_filter_pb2 as pb
from texts import Text


class Outcome(StrEnum):
    """What became of a request."""

    VERDICT = "verdict"
    """All members answered."""
    CONSERVATIVE = "conservative"
    """An answer without all members, such as OVERLOADED, or a refusal."""
    LATE = "late"
    """No answer by the deadline."""
    ERROR = "error"


CONSERVATIVE_REASONS = {
    pb.Reason.Value(f"REASON_{name}")
    for name in (
        "MEMBER_TIMED_OUT", "MEMBER_FAILED", "MEMBER_INVALID", "OVERLOADED", "DEADLINE", "COVERAGE_INCOMPLETE",
        "CONSERVATIVE_MODE", "INTERNAL_ERROR",
    )
}  # fmt: skip


class Driver(Protocol):
    """Speaks to one kind of server."""

    async def open(self) -> None:
        """Connects."""

    async def close(self) -> None:
        """Hangs up."""

    async def send(self, place: int, timeout_s: float) -> bytes | Outcome:
        """Sends request `place`, modulo the corpus; cancelling it is what a caller who leaves does."""
        ...

    def judge(self, answer: bytes) -> Outcome:
        """What an answer says; called after the run."""
        ...


class GrpcDriver(ABC):
    """One method, bytes in and bytes out: gRPC's own work is all that is done per request."""

    method = ""
    refusals = frozenset[grpc.StatusCode]()
    """What the server says when it refuses."""

    def __init__(self, address: str, corpus: Sequence[Text]) -> None:
        self._address = address
        self._requests = [self.request(text) for text in corpus]

    async def open(self) -> None:
        """Connects."""
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(self._address, options=options)
        await asyncio.wait_for(self._channel.channel_ready(), 30)
        self._call: Any = self._channel.unary_unary(self.method)

    async def close(self) -> None:
        """Hangs up."""
        await self._channel.close()

    async def send(self, place: int, timeout_s: float) -> bytes | Outcome:
        """One unary call with a deadline."""
        try:
            answer: bytes = await self._call(self._requests[place % len(self._requests)], timeout=timeout_s)
            return answer
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Outcome.LATE
            return Outcome.CONSERVATIVE if error.code() in self.refusals else Outcome.ERROR

    @abstractmethod
    def request(self, text: Text) -> bytes:
        """A message."""

    def judge(self, answer: bytes) -> Outcome:
        """Any answer is a whole one."""
        return Outcome.VERDICT


class InterlockDriver(GrpcDriver):
    """The service itself, asked for what clients ask for by default."""

    method = "/interlock.v1.SafetyFilterService/Screen"

    def request(self, text: Text) -> bytes:
        """A ScreenRequest."""
        exchange = pb.Exchange(prompt=text.prompt.encode(), completion=text.completion.encode())
        return pb.ScreenRequest(exchange=exchange).SerializeToString()

    def judge(self, answer: bytes) -> Outcome:
        """A verdict counts as one only if no member was missing."""
        verdict = pb.ScreenResponse.FromString(answer).verdict
        partial = CONSERVATIVE_REASONS.intersection(verdict.reasons) or any(m.missing for m in verdict.members)
        return Outcome.CONSERVATIVE if partial else Outcome.VERDICT


class StreamDriver(InterlockDriver):
    """The service by one long stream that all callers share, as callers on hot paths use it."""

    method = "/interlock.v1.SafetyFilterService/ScreenMany"

    async def open(self) -> None:
        """Connects, and begins the stream."""
        await super().open()
        self._stream: Any = self._channel.stream_stream(self.method)()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(1)
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    async def close(self) -> None:
        """Ends the stream."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()

    async def send(self, place: int, timeout_s: float) -> bytes | Outcome:
        """One item; it is withdrawn when its time is over or its caller leaves."""
        number = next(self._numbers)
        item = pb.ScreenManyRequest(sequence=number)
        item.timeout.FromNanoseconds(int(timeout_s * 1e9))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        # Serialised messages that are joined are one message with the fields of both.
        self._outbox.put_nowait(item.SerializeToString() + self._requests[place % len(self._requests)])
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            return Outcome.LATE
        except grpc.aio.AioRpcError:
            return Outcome.ERROR
        finally:
            if self._waiting.pop(number, None):
                self._outbox.put_nowait(pb.ScreenManyRequest(sequence=number, cancel=True).SerializeToString())

    def request(self, text: Text) -> bytes:
        """The part of a ScreenManyRequest that is known before."""
        exchange = pb.Exchange(prompt=text.prompt.encode(), completion=text.completion.encode())
        batch = pb.ScreenBatchRequest(exchanges=[exchange])
        return pb.ScreenManyRequest(batch=batch).SerializeToString()

    def judge(self, answer: bytes) -> Outcome:
        """As of a verdict of its own."""
        response = pb.ScreenManyResponse.FromString(answer)
        if response.code or not response.batch.verdicts:
            return Outcome.ERROR
        return super().judge(pb.ScreenResponse(verdict=response.batch.verdicts[0]).SerializeToString())

    async def _read(self) -> None:
        try:
            async for answer in self._stream:
                waiting = self._waiting.pop(_sequence(answer), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except grpc.aio.AioRpcError as error:
            for waiting in self._waiting.values():
                waiting.set_exception(error)

    async def _write(self) -> None:
        while True:
            await self._stream.write(await self._outbox.get())


def _sequence(answer: bytes) -> int:
    """The first field of a ScreenManyResponse, without reading the rest."""
    number, place = 0, 1
    while answer[place] & 0x80:
        number |= (answer[place] & 0x7F) << 7 * (place - 1)
        place += 1
    return number | answer[place] << 7 * (place - 1)


class EchoDriver(GrpcDriver):
    """The echo server: a message of fixed size comes back."""

    method = "/Echo/Echo"

    def request(self, text: Text) -> bytes:
        """The text itself."""
        return f"{text.prompt}{text.completion}".encode()


class TritonDriver(GrpcDriver):
    """The open inference protocol: inputs `prompt` and `completion`, output `scores`, of the model `ensemble`."""

    method = "/inference.GRPCInferenceService/ModelInfer"
    refusals = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})

    def request(self, text: Text) -> bytes:
        """A ModelInferRequest, written by hand so that Triton's client need not be installed here."""
        inputs = (("prompt", text.prompt), ("completion", text.completion))
        tensors = b"".join(_field(5, _bytes_tensor(name, value.encode())) for name, value in inputs)
        return _field(1, b"ensemble") + tensors + _field(6, _field(1, b"scores"))


def _bytes_tensor(name: str, value: bytes) -> bytes:
    """An InferInputTensor of type BYTES and shape [1]."""
    shape = _field(3, b"\x01")  # packed
    return _field(1, name.encode()) + _field(2, b"BYTES") + shape + _field(5, _field(8, value))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field as protobuf writes it."""
    size, digits = len(content), b""
    while size > 0x7F:
        digits += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + digits + bytes([size]) + content


class HttpDriver:
    """POST /score with JSON, on connections that are kept; one whose caller leaves is closed."""

    def __init__(self, address: str, corpus: Sequence[Text]) -> None:
        self._url = address if address.startswith("http") else f"http://{address}/score"
        self._requests = [json.dumps(text._asdict()).encode() for text in corpus]

    async def open(self) -> None:
        """Makes the pool of connections."""
        import aiohttp

        self._refused = aiohttp.ClientError
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Content-Type": "application/json"}
        )

    async def close(self) -> None:
        """Hangs up."""
        await self._session.close()

    async def send(self, place: int, timeout_s: float) -> bytes | Outcome:
        """One request; 429 and 503 are refusals, and so are 408 (mosec) and 504 (LitServe)."""
        body = self._requests[place % len(self._requests)]
        try:
            async with asyncio.timeout(timeout_s), self._session.post(self._url, data=body) as response:
                answer: bytes = await response.read()
        except TimeoutError:
            return Outcome.LATE
        except (self._refused, OSError):
            return Outcome.ERROR
        refusals = dict.fromkeys((408, 429, 503, 504), Outcome.CONSERVATIVE)
        by_status: dict[int, bytes | Outcome] = {200: answer, **refusals}
        return by_status.get(response.status, Outcome.ERROR)

    def judge(self, answer: bytes) -> Outcome:
        """It must hold scores."""
        return Outcome.VERDICT if b'"scores"' in answer else Outcome.ERROR


DRIVERS: dict[str, Any] = {
    "interlock": InterlockDriver,
    "interlock_stream": StreamDriver,
    "echo": EchoDriver,
    "triton": TritonDriver,
    "http": HttpDriver,
}
