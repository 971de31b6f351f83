"""A guarded stream for asyncio: one task pulls the source, one owns the call and its writer, and the caller waits.

What may come out is decided in guarding.py. Every wait ends with the stream's deadline at the latest.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, aclosing, suppress
from inspect import isawaitable
from types import TracebackType
from typing import Any, Generic, Protocol, Self, cast

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason
from .guarded import ENDING_S, close_all
from .guarding import Guarding, Piece, Terms
from .requests import stream_start, timeout_of
from .settings import ClientSettings
from .verdict import Verdict

CLOSING_S = 1.0  # for a source to close

Source = AsyncIterable[Piece] | Iterable[Piece]


class Call(Protocol):
    """A call of ScreenStream."""

    async def write(self, request: bytes) -> None: ...

    async def done_writing(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


Open = Callable[[float], AbstractContextManager[Call]]
_END = object()


class AsyncGuarded(AsyncIterator[Piece]):
    """Guarded for asyncio."""

    def __init__(self, flow: "AsyncFlow[Piece]") -> None:
        # The generator knows nothing of this object, so that dropping this object, as `break` does, closes it.
        self._flow = flow
        self._texts = flow.texts()

    @property
    def verdict(self) -> Verdict:
        return self._flow.guarding.verdict

    @property
    def released_bytes(self) -> int:
        return self._flow.guarding.bytes_out

    async def __anext__(self) -> Piece:
        return await anext(self._texts)

    async def aclose(self) -> None:
        """Nothing more comes out, and the source is closed."""
        await self._flow.end()
        with suppress(RuntimeError):  # another task is waiting in it, and has been told
            await self._texts.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncFlow(Generic[Piece]):
    """One guarded stream at work."""

    def __init__(
        self,
        source: Source[Piece],
        terms: Terms,
        settings: ClientSettings,
        open_call: Open,
        failure: Callable[[Exception], CallError],
    ) -> None:
        self.guarding = Guarding(settings, terms.buffer_bytes_max)
        self._source = source
        self._terms = terms
        self._settings = settings
        self._open = open_call
        self._failure = failure
        self._changed = asyncio.Event()  # replaced whenever it is set
        self._error: BaseException | None = None  # of the source
        self._moved_at = self._deadline = 0.0
        self._tasks: list[asyncio.Task[None]] | None = None

    async def texts(self) -> AsyncGenerator[Piece, None]:
        """What the caller sees."""
        texts = self._observed() if self._settings.enforcement == "observe" else self._released()
        try:
            async with aclosing(texts):
                async for text in texts:
                    yield text
        finally:
            await self.end()

    async def end(self) -> None:
        """Nothing more comes out, is pulled or is sent."""
        self._change(self.guarding.fail, CallError(LocalReason.CANCELLED))
        tasks, self._tasks = self._tasks, []
        if tasks is None:
            await _aclose(self._source)
        if not tasks:
            return
        if not self.guarding.verdict.local:
            await asyncio.wait(tasks[:1], timeout=ENDING_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CLOSING_S)

    async def _released(self) -> AsyncGenerator[Piece, None]:
        self._begin(self._read, self._pull)
        while (text := await self._next()) is not None:
            yield text
        if not self.guarding.verdict.released:
            yield cast(Piece, self._terms.last_words(self.guarding))

    async def _observed(self) -> AsyncGenerator[Piece, None]:
        """Everything, as it comes; the service sees it too, and cannot disturb it."""
        self._begin(self._read)
        pieces = _pieces(self._source)
        try:
            async for piece in pieces:
                self._change(self.guarding.take, piece)
                yield piece
        except (GeneratorExit, asyncio.CancelledError):
            await _aclose(pieces, self._source)
            raise
        self._change(self.guarding.finish)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.timeout_s):
                while not self.guarding.settled:
                    await self._changed.wait()
        self.guarding.fail(CallError(LocalReason.DEADLINE))

    def _begin(self, *targets: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks = []
        try:
            self._deadline = _now() + timeout_of(self._terms.question, self._settings)
            self._tasks += [asyncio.create_task(target()) for target in targets]
        except Exception as error:
            self._change(self.guarding.fail, self._failure(error))

    async def _next(self) -> Piece | None:
        """The next text, or None when there will be none; raises what the source raised."""
        self._moved_at = _now()  # the time that the caller took is nobody's idleness
        while True:
            if (text := self.guarding.text()) is not None:
                self._notify()  # there is room for the next piece
                return cast(Piece, text)
            if self._error is not None:
                raise self._error
            if self.guarding.settled:
                return None
            idle_s = self._moved_at + self._terms.idle_timeout_s - _now()
            left_s = min(idle_s, self._deadline - _now())
            if left_s <= 0:
                self.guarding.fail(CallError(LocalReason.DEADLINE, "IDLE" if idle_s <= 0 else ""))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._changed.wait()

    async def _pull(self) -> None:
        """Feeds the source in."""
        pieces: AsyncIterator[Piece] | None = None
        try:
            pieces = _pieces(self._source)
            async for piece in pieces:
                self._change(self.guarding.take, piece)
                while not (self.guarding.settled or self.guarding.wants_more):
                    await self._changed.wait()
                if self.guarding.settled:
                    break
            else:
                return self._change(self.guarding.finish)
        except BaseException as error:  # whatever it is, it is the caller's
            self._change(self._keep, error)
        await _aclose(pieces, self._source)

    async def _read(self) -> None:
        """Owns the call."""
        error: Exception = CallError(LocalReason.MALFORMED_RESPONSE, "no verdict")
        try:
            start = pb.ScreenStreamRequest(start=stream_start(self._terms.question, self._settings))
            with self._open(self._deadline - _now()) as call:
                writing = asyncio.create_task(self._write(call, start))
                try:
                    # Not `read`, which gives up what has come already once a write has failed.
                    async for payload in call:
                        self._change(self._answer, payload)
                        if self.guarding.settled and self.guarding.verdict.local:
                            break
                finally:
                    writing.cancel()
                    await asyncio.wait([writing])
        except asyncio.CancelledError:  # gRPC raises it as well when the channel is closed
            error = CallError(LocalReason.CANCELLED)
        except Exception as raised:
            error = raised
        self._change(self.guarding.fail, self._failure(error))

    def _answer(self, payload: bytes) -> None:
        self.guarding.answer(payload)
        if self._settings.enforcement == "observe":
            self.guarding.text()

    async def _write(self, call: Call, start: pb.ScreenStreamRequest) -> None:
        with suppress(Exception):  # `_read` sees why, or INTERNAL, which grpc.aio makes of every end under a write
            await call.write(start.SerializeToString())
            while self.guarding.says_more and self._error is None:
                if (message := self.guarding.message()) is None:
                    await self._changed.wait()
                    continue
                self._notify()  # there is room for the next piece
                await call.write(message.SerializeToString())
            await call.done_writing()

    def _keep(self, error: BaseException) -> None:
        self._error = error

    def _change(self, change: Callable[..., None], *arguments: object) -> None:
        change(*arguments)
        self._moved_at = _now()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pieces(source: Source[Piece]) -> AsyncIterator[Piece]:
    return aiter(source) if isinstance(source, AsyncIterable) else _in_threads(source)


async def _in_threads(source: Iterable[Piece]) -> AsyncGenerator[Piece, None]:
    """Pulls a plain iterable without holding up the loop."""
    pieces = iter(source)
    turn = threading.Lock()

    def step() -> Any:
        with turn:
            return next(pieces, _END)

    def leave() -> None:
        with turn:  # a step that nobody waits for any more may still be under way
            close_all(pieces, source)

    try:
        while (piece := await asyncio.to_thread(step)) is not _END:
            yield piece
    except (GeneratorExit, asyncio.CancelledError):
        asyncio.get_running_loop().run_in_executor(None, leave)
        raise


async def _aclose(*sources: object) -> None:
    for source in sources:
        close = getattr(source, "aclose", None) or getattr(source, "close", None)
        if close is not None:
            with suppress(Exception):  # it was not asked for, so nobody waits for what it says
                closed = close()
                if isawaitable(closed):
                    await closed
