"""A guarded stream for threads: one pulls the source, one reads responses, gRPC's own one writes, and the caller waits.

What may come out is decided in guarding.py. Every wait ends with the stream's deadline at the latest.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from types import TracebackType
from typing import Any, Generic, Protocol, Self, cast

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason
from .guarding import Guarding, Piece, Terms
from .requests import stream_start, timeout_of
from .settings import ClientSettings
from .verdict import Verdict

ENDING_S = 0.25  # for the server to end a call after its verdict


class Call(Protocol):
    """A call of ScreenStream: its responses, until it ends or raises."""

    def __iter__(self) -> Iterator[bytes]: ...

    def cancel(self) -> Any: ...


Open = Callable[[Iterator[bytes], float], AbstractContextManager[Call]]
_END = object()


class Guarded(Iterator[Piece]):
    """The released part of a stream, as it is released: see SafetyFilter.guard. Closing it early closes the source.

    `verdict` is a withheld one until the whole text is released; read it when the iteration has ended.
    `released_bytes` is how much came out; in observe mode, how much would have.
    """

    def __init__(self, flow: "Flow[Piece]") -> None:
        # The generator knows nothing of this object, so that dropping this object, as `break` does, closes it.
        self._flow = flow
        self._texts = flow.texts()

    @property
    def verdict(self) -> Verdict:
        return self._flow.guarding.verdict

    @property
    def released_bytes(self) -> int:
        return self._flow.guarding.bytes_out

    def __next__(self) -> Piece:
        return next(self._texts)

    def close(self) -> None:
        """Nothing more comes out. The source is closed, at the latest when it yields its next piece."""
        self._flow.end()
        with suppress(ValueError):  # another thread is waiting in it, and has been told
            self._texts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Flow(Generic[Piece]):
    """One guarded stream at work."""

    def __init__(
        self,
        source: Iterable[Piece],
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
        self._changed = threading.Condition()
        self._call: Call | None = None
        self._error: BaseException | None = None  # of the source
        self._moved_at = self._deadline = time.monotonic()
        self._threads: list[threading.Thread] | None = None
        self._pid = os.getpid()

    def texts(self) -> Generator[Piece, None, None]:
        """What the caller sees."""
        try:
            yield from self._observed() if self._settings.enforcement == "observe" else self._released()
        finally:
            self.end()

    def end(self) -> None:
        """Nothing more comes out, is pulled or is sent."""
        if os.getpid() != self._pid:  # the threads, and gRPC, are the parent's
            return
        with self._changed:
            self.guarding.fail(CallError(LocalReason.CANCELLED))
            self._changed.notify_all()
            threads, self._threads = self._threads, []
        if threads is None:
            close_all(self._source)
        elif threads:
            self._end_call(threads[0])

    def _released(self) -> Iterator[Piece]:
        self._begin(self._read, self._pull)
        while (text := self._next()) is not None:
            yield text
        if not self.guarding.verdict.released:
            yield cast(Piece, self._terms.last_words(self.guarding))

    def _observed(self) -> Iterator[Piece]:
        """Everything, as it comes; the service sees it too, and cannot disturb it."""
        self._begin(self._read)
        pieces = iter(self._source)
        try:
            for piece in pieces:
                self._notice_fork()
                self._change(self.guarding.take, piece)
                yield piece
        except GeneratorExit:
            close_all(pieces, self._source)
            raise
        self._change(self.guarding.finish)
        with self._changed:
            self._changed.wait_for(lambda: self.guarding.settled, self._settings.timeout_s)
            self.guarding.fail(CallError(LocalReason.DEADLINE))

    def _end_call(self, reading: threading.Thread) -> None:
        """After its verdict the server ends the call itself."""
        if self._call is not None and self.guarding.verdict.local:
            self._call.cancel()
        if reading is not threading.current_thread():  # where the garbage collector may run this
            reading.join(ENDING_S)
        if self._call is not None:
            self._call.cancel()

    def _begin(self, *targets: Callable[[], None]) -> None:
        self._threads = []
        try:
            self._deadline = time.monotonic() + timeout_of(self._terms.question, self._settings)
            for target in targets:
                run = copy_context().run
                thread = threading.Thread(target=run, args=[target], name="interlock-guard", daemon=True)
                thread.start()
                self._threads.append(thread)
        except Exception as error:
            self._change(self.guarding.fail, self._failure(error))

    def _next(self) -> Piece | None:
        """The next text, or None when there will be none; raises what the source raised."""
        self._notice_fork()
        with self._changed:
            self._moved_at = time.monotonic()  # the time that the caller took is nobody's idleness
            while True:
                if (text := self.guarding.text()) is not None:
                    self._changed.notify_all()  # there is room for the next piece
                    return cast(Piece, text)
                if self._error is not None:
                    raise self._error
                if self.guarding.settled:
                    return None
                idle_s = self._moved_at + self._terms.idle_timeout_s - time.monotonic()
                left_s = min(idle_s, self._left_s())
                if left_s <= 0:
                    self.guarding.fail(CallError(LocalReason.DEADLINE, "IDLE" if idle_s <= 0 else ""))
                else:
                    self._changed.wait(left_s)

    def _notice_fork(self) -> None:
        if os.getpid() != self._pid:
            self._changed = threading.Condition()  # one that was held during the fork stays locked
            self.guarding.fail(CallError(LocalReason.FORKED))

    def _pull(self) -> None:
        """Feeds the source in. A thread of its own, because it may block for longer than the caller should."""
        try:
            pieces = iter(self._source)
            while self._wanted():
                piece = next(pieces, _END)
                if piece is _END:
                    return self._change(self.guarding.finish)
                self._change(self.guarding.take, piece)
            close_all(pieces, self._source)
        except BaseException as error:  # whatever it is, it is the caller's
            self._change(self._keep, error)

    def _wanted(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self.guarding.settled or self.guarding.wants_more, max(0.0, self._left_s()))
            return self.guarding.wants_more

    def _read(self) -> None:
        """Owns the call."""
        error: Exception = CallError(LocalReason.MALFORMED_RESPONSE, "no verdict")
        try:
            start = pb.ScreenStreamRequest(start=stream_start(self._terms.question, self._settings))
            with self._open(self._messages(start), self._left_s()) as call:
                self._change(self._keep_call, call)
                for payload in () if self.guarding.settled else call:
                    self._change(self._answer, payload)
                    if self.guarding.settled and self.guarding.verdict.local:
                        break
        except Exception as raised:
            error = raised
        self._change(self.guarding.fail, self._failure(error))

    def _answer(self, payload: bytes) -> None:
        self.guarding.answer(payload)
        if self._settings.enforcement == "observe":
            self.guarding.text()

    def _messages(self, start: pb.ScreenStreamRequest) -> Iterator[bytes]:
        message: pb.ScreenStreamRequest | None = start
        while message is not None:
            yield message.SerializeToString()
            message = self._message()

    def _message(self) -> pb.ScreenStreamRequest | None:
        with self._changed:
            while self.guarding.says_more and self._error is None and (left_s := self._left_s()) > 0:
                if (message := self.guarding.message()) is not None:
                    self._changed.notify_all()  # there is room for the next piece
                    return message
                self._changed.wait(left_s)
        return None

    def _keep(self, error: BaseException) -> None:
        self._error = error

    def _keep_call(self, call: Call) -> None:
        self._call = call

    def _change(self, change: Callable[..., None], *arguments: object) -> None:
        with self._changed:
            change(*arguments)
            self._moved_at = time.monotonic()
            self._changed.notify_all()

    def _left_s(self) -> float:
        return self._deadline - time.monotonic()


def close_all(*sources: object) -> None:
    """Closes what can be closed."""
    for source in sources:
        close = getattr(source, "close", None)
        if close is not None:
            with suppress(Exception):  # it was not asked for, so nobody waits for what it says
                close()
