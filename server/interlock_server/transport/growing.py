"""One ScreenStream call: the caller's messages go into a growing completion, and what may be shown comes out.

Reading goes on while parts are judged; what is read is bounded by the policy's limit of a completion. A message out of order
ends the call, and a caller who reads no answers is waited for until the stream's deadline.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.screening import Screening
from interlock_server.streaming import GrowingCompletion
from interlock_server.transport.translate import Call, InvalidRequest

if TYPE_CHECKING:  # generic only in its type stubs
    from collections.abc import Callable

    Context = grpc.aio.ServicerContext[Any, Any]


async def read_start(context: Context) -> pb.ScreenStreamStart:
    """The first message; raises InvalidRequest when it is another one."""
    first = await context.read()
    if first is grpc.aio.EOF or first.WhichOneof("part") != "start":
        raise InvalidRequest("start: must be the first message")
    start: pb.ScreenStreamStart = first.start
    if start.prompt and start.turns:
        raise InvalidRequest("start: has both a prompt and turns")
    return start


async def serve_growing(
    context: Context, completion: GrowingCompletion, call: Call, verdict: Callable[[Screening], pb.Verdict]
) -> None:
    """Answers until the last verdict is sent; raises InvalidRequest for a message out of order."""
    reading = asyncio.create_task(_read(context, completion, call))
    answering = asyncio.create_task(_answer(context, completion, verdict))
    try:
        left_s = max(call.deadline_s - time.monotonic(), 0.0) + _LAST_WORD_S
        async with asyncio.timeout(left_s):
            await asyncio.wait((reading, answering), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()  # raises
            await answering
    except TimeoutError:  # the last verdict is there, but the caller does not read
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the answers were not read")
    finally:
        for task in (reading, answering):
            task.cancel()
        await asyncio.gather(reading, answering, return_exceptions=True)


_LAST_WORD_S = 5.0
_LAST_WRITE_S = 1.0


async def _read(context: Context, completion: GrowingCompletion, call: Call) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        if completion.ended:
            raise InvalidRequest("end: must be the last message")
        match message.WhichOneof("part"):
            case "chunk":
                call.who.allowance.charge(len(message.chunk))
                completion.add(message.chunk)
            case "end":
                completion.end()
            case "start":
                raise InvalidRequest("start: comes once")
            case _:
                raise InvalidRequest("part: is missing")
    completion.break_off()


async def _answer(context: Context, completion: GrowingCompletion, verdict: Callable[[Screening], pb.Verdict]) -> None:
    while True:
        news = await completion.progress()
        message = pb.ScreenStreamResponse(released_bytes=news.released_bytes, released_sha256=news.released_sha256)
        if news.screening is not None:
            message.verdict.CopyFrom(verdict(news.screening))
        await _write(context, message)
        if news.screening is not None:
            return


async def _write(context: Context, message: pb.ScreenStreamResponse) -> None:
    """Also when it is cancelled, the write ends first: after one that was cut off, gRPC can no longer end the call."""
    writing = asyncio.ensure_future(context.write(message))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait((writing,), timeout=_LAST_WRITE_S)
        writing.cancel()  # a caller who reads nothing cannot be waited for
        await asyncio.gather(writing, return_exceptions=True)
        raise
