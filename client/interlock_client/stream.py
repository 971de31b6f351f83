"""Many calls over one stream of ScreenMany, in one event loop: sent as they come, answered by their sequence.

Whatever ends a stream ends every call on it with a CallError, so nothing waits for an answer that cannot come.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb

from .errors import REASON_OF_STATUS, CallError, LocalReason, call_error
from .screening import SCREEN_MANY_PATH, Pairs
from .tracing import shareable

# Longer messages would hold up the others on the stream; they take a call of their own, which costs little beside them.
STREAMED_BYTES_MAX = 64 * 1024
# Until then the balancer may not know all servers yet, and would send every stream to the first; calls go by themselves.
SETTLING_S = 0.5

# An older server; and a write to a stream that has ended, which grpc.aio calls INTERNAL whatever the server had said.
NOT_JUDGED = frozenset({grpc.StatusCode.UNIMPLEMENTED.name, grpc.StatusCode.INTERNAL.name})

STATUS_OF_CODE = MappingProxyType({status.value[0]: status for status in grpc.StatusCode})


class NotJudgedError(CallError):
    """The stream ended before the server read this call, or the server has no such stream: ask in another way."""

    def __init__(self) -> None:
        super().__init__(LocalReason.UNREACHABLE, "the stream ended")


@dataclass(frozen=True)
class _Item:
    sequence: int
    deadline: float = 0.0
    batch: pb.ScreenBatchRequest | None = field(default=None, repr=False)  # None withdraws the item


class Stream:
    """One call of ScreenMany. `over` is set when it has ended, and then nothing more can be asked."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Pairs) -> None:
        self.metadata = metadata
        self.over = False
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(SCREEN_MANY_PATH)(metadata=metadata)
        self._waiting: dict[int, asyncio.Future[pb.ScreenBatchResponse]] = {}
        self._outbox: deque[_Item] = deque()
        self._filled = asyncio.Event()
        self._sequence = 0
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    @property
    def load(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    async def ask(self, batch: pb.ScreenBatchRequest, timeout_s: float) -> pb.ScreenBatchResponse:
        """The answer to one batch. Raises CallError; a caller who is cancelled or out of time is withdrawn."""
        loop = asyncio.get_running_loop()
        self._sequence += 1  # never used twice: a late answer is nobody's
        sequence, deadline = self._sequence, loop.time() + timeout_s
        answer: asyncio.Future[pb.ScreenBatchResponse] = loop.create_future()
        self._waiting[sequence] = answer
        self._send(_Item(sequence, deadline, batch))
        timer = loop.call_at(deadline, _fail, answer, CallError(LocalReason.DEADLINE, "DEADLINE_EXCEEDED"))
        try:
            return await answer
        finally:
            timer.cancel()
            if self._waiting.pop(sequence, None) is not None:  # it was not answered
                self._send(_Item(sequence))

    async def close(self) -> None:
        """Ends the calls that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end(CallError(LocalReason.CANCELLED))  # a task that had not begun ended nothing

    def _end(self, failure: CallError) -> None:
        """Tells everybody who waits; nothing more comes."""
        self.over = True
        self._call.cancel()
        for answer in self._waiting.values():
            _fail(answer, failure)

    def _send(self, item: _Item) -> None:
        self._outbox.append(item)
        self._filled.set()

    async def _write(self) -> None:
        """A task of its own, since gRPC ends the whole stream when a write is cancelled."""
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._outbox:
                    message = self._message(self._outbox.popleft())
                    if message is not None:
                        await self._call.write(message.SerializeToString())
        except Exception:  # `_read` sees why, and tells those who wait
            self._call.cancel()

    def _message(self, item: _Item) -> pb.ScreenManyRequest | None:
        if item.batch is None:
            return pb.ScreenManyRequest(sequence=item.sequence, cancel=True)
        left_s = item.deadline - asyncio.get_running_loop().time()
        if item.sequence not in self._waiting or left_s <= 0:
            return None
        timeout = Duration(seconds=int(left_s), nanos=int(left_s % 1 * 1e9))
        return pb.ScreenManyRequest(sequence=item.sequence, timeout=timeout, batch=item.batch)

    async def _read(self) -> None:
        failure = CallError(LocalReason.CANCELLED)
        try:
            while isinstance(reply := await self._call.read(), bytes):
                self._settle(pb.ScreenManyResponse.FromString(reply))
            failure = NotJudgedError()
        except Exception as error:
            failure = call_error(error)
            if failure.cause in NOT_JUDGED:
                failure = NotJudgedError()
        finally:  # also when the channel is closed, which gRPC says by cancelling
            self._end(failure)
            self._tasks[1].cancel()

    def _settle(self, reply: pb.ScreenManyResponse) -> None:
        answer = self._waiting.pop(reply.sequence, None)
        if answer is None or answer.done():  # too late
            return
        if reply.code:
            status = STATUS_OF_CODE.get(reply.code, grpc.StatusCode.UNKNOWN)
            answer.set_exception(CallError(REASON_OF_STATUS.get(status, LocalReason.SERVER_ERROR), status.name))
        else:
            answer.set_result(reply.batch)


class Streams:
    """The open streams of one channel, whose balancer sends each new one to the next server, where it stays."""

    def __init__(self, channel: grpc.aio.Channel, count: int) -> None:
        self._channel = channel
        self._count = count
        self._opens_at = time.monotonic() + (SETTLING_S if count > 1 else 0.0)
        self._open: deque[Stream] = deque()

    def choose(self, metadata: Pairs) -> Stream | None:
        """The least busy stream with these pairs, opened if there is room; None: the call has to go by itself."""
        shared = shareable(metadata)
        if shared is None or time.monotonic() < self._opens_at:
            return None
        for stream in [one for one in self._open if one.over]:
            self._open.remove(stream)
        if len(self._open) < self._count:
            self._open.append(Stream(self._channel, shared))
            return self._open[-1]
        self._open.rotate()  # equally busy ones take turns
        return min((one for one in self._open if one.metadata == shared), key=lambda one: one.load, default=None)

    async def close(self) -> None:
        """Ends them all."""
        await asyncio.gather(*(stream.close() for stream in self._open))


def _fail(answer: asyncio.Future[pb.ScreenBatchResponse], error: CallError) -> None:
    if not answer.done():
        # One of its own for each: an exception that several tasks raise grows with every one of them.
        answer.set_exception(
            NotJudgedError() if isinstance(error, NotJudgedError) else CallError(error.reason, error.cause)
        )
