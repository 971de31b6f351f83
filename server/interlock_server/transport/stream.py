"""One stream of ScreenMany: items are read while there is room, judged side by side, and answered as they are done.

An item's mistake is its own answer. Only a caller who leaves withdraws work: a stream that ends for any other reason
answers first what it has read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.transport.translate import InvalidRequest, to_seconds

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]

Judge = Callable[[pb.ScreenBatchRequest, float], Awaitable[pb.ScreenBatchResponse]]
_INVALID_ARGUMENT: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
_INTERNAL: int = grpc.StatusCode.INTERNAL.value[0]


class Stream:
    """Serves one call; `judge` is given a batch and its deadline on the monotonic clock, and raises InvalidRequest."""

    def __init__(self, context: Context, judge: Judge, in_flight_max: int) -> None:
        self._context = context
        self._judge = judge
        self._places = asyncio.Semaphore(in_flight_max)
        self._unanswered: dict[int, asyncio.Task[None]] = {}
        self._answers: deque[pb.ScreenManyResponse] = deque()
        self._writing = False
        self._reading: asyncio.Task[None] | None = None

    async def run(self, age_s: float) -> None:
        """Until the caller has no more, `end` is called or the stream is `age_s` old; returns when all is answered."""
        ageing = asyncio.get_running_loop().call_later(age_s, self.end)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reading = tasks.create_task(self._read(tasks))
        finally:
            ageing.cancel()

    def end(self) -> None:
        """Reads no further."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while (item := await self._context.read()) is not grpc.aio.EOF:
            if item.cancel:
                self._withdraw(item.sequence)
                continue
            await self._places.acquire()  # beyond its limit the caller meets the flow control of HTTP/2
            if item.sequence in self._unanswered:
                tasks.create_task(self._send(_mistake(item, "sequence: is in use")))
            else:
                self._unanswered[item.sequence] = tasks.create_task(self._serve(item))

    def _withdraw(self, sequence: int) -> None:
        task = self._unanswered.pop(sequence, None)
        if task is not None:
            task.cancel()
            self._places.release()  # not by the task, which may not have begun

    async def _serve(self, item: pb.ScreenManyRequest) -> None:
        answer = await self._answer(item)
        del self._unanswered[item.sequence]  # from here on it cannot be withdrawn
        await self._send(answer)

    async def _answer(self, item: pb.ScreenManyRequest) -> pb.ScreenManyResponse:
        timeout_s = to_seconds(item.timeout)
        if not timeout_s > 0:
            return _mistake(item, "timeout: must be more than 0")
        try:
            batch = await self._judge(item.batch, time.monotonic() + timeout_s)
            return pb.ScreenManyResponse(sequence=item.sequence, batch=batch)
        except InvalidRequest as error:
            return _mistake(item, str(error))
        except Exception as error:  # an answer without verdicts, which every caller withholds
            asyncio.get_running_loop().call_exception_handler({"message": "stream_item", "exception": error})
            return pb.ScreenManyResponse(sequence=item.sequence, code=_INTERNAL)

    async def _send(self, answer: pb.ScreenManyResponse) -> None:
        """Writes the answer, or leaves it to the task that is writing: gRPC takes one message at a time."""
        self._answers.append(answer)
        if self._writing:
            return
        self._writing = True
        while self._answers:
            try:
                await self._context.write(self._answers[0])
            except grpc.aio.BaseError:  # the caller has gone, and his cancellation is on its way
                self.end()
            self._answers.popleft()
            self._places.release()
        self._writing = False


def _mistake(item: pb.ScreenManyRequest, message: str) -> pb.ScreenManyResponse:
    return pb.ScreenManyResponse(sequence=item.sequence, code=_INVALID_ARGUMENT, message=message)
