"""The client for asyncio. Everything that decides is in screening.py, selecting.py, generating.py and guarding.py; here
bytes are sent and waits are awaited.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self

import grpc.aio
from interlock.v1 import safety_filter_pb2 as pb

from . import generating, screening, selecting
from .channel import Links, address, options, servers
from .errors import CallError, LocalReason, call_error
from .generating import Generated
from .guarded_aio import AsyncFlow, AsyncGuarded, Call, Source
from .guarding import TIMEOUT_S, OnWithheld, Piece, Terms
from .requests import Exchange, Label, Question, Text, Turns, candidate_exchanges, listed
from .responses import Reply
from .retry import TokenBucket
from .screening import Answer, Method, Plan, Result, Send, Wait
from .selecting import Selection
from .settings import ClientSettings, Priority
from .stream import STREAMED_BYTES_MAX, NotJudgedError, Streams
from .verdict import Fallback, Verdict

Owner = tuple[int, asyncio.AbstractEventLoop]


@dataclass(frozen=True)
class _Link:
    channel: grpc.aio.Channel
    bucket: TokenBucket
    streams: Streams


@dataclass(frozen=True, kw_only=True, eq=False)
class AsyncSafetyFilter(ClientSettings):
    """SafetyFilter for asyncio, with the same arguments. It can be constructed anywhere and used in several loops.

    `multiplexed` sends calls over a few long streams, which costs the servers less; calls with a request_id, with other
    metadata than the streams were opened with, or of more than 64 KiB still go by themselves. Verdicts are the same.

    `screen`, `screen_batch` and `select` raise nothing but the cancellation of the task that awaits them.
    """

    multiplexed: bool = False
    _links: Links[Owner, _Link] = field(init=False, repr=False, default_factory=Links)

    async def screen(
        self,
        *,
        completion: Text,
        prompt: Text = "",
        turns: Turns | None = None,
        timeout_s: float | None = None,
        profile: str | None = None,
        extra_margin: float | None = None,
        request_id: str | None = None,
        priority: Priority | None = None,
    ) -> Verdict:
        """The verdict on one completion, in the light of its prompt or of the earlier turns."""
        exchange = Exchange(completion=completion, prompt=prompt, turns=turns)
        question = Question([exchange], timeout_s, profile, extra_margin, request_id, priority)
        # A stream carries batches only.
        method = screening.SCREEN_BATCH if self.multiplexed else screening.SCREEN
        return (await self._ask(method, question))[0]

    async def screen_batch(
        self,
        exchanges: Iterable[Exchange],
        *,
        timeout_s: float | None = None,
        profile: str | None = None,
        extra_margin: float | None = None,
        request_id: str | None = None,
        priority: Priority | None = None,
    ) -> list[Verdict]:
        """A verdict on each exchange, in order, each independent of the others' failures."""
        question = Question(listed(exchanges), timeout_s, profile, extra_margin, request_id, priority)
        return await self._ask(screening.SCREEN_BATCH, question)

    def guard(
        self,
        stream: Source[Piece],
        *,
        prompt: Text = "",
        turns: Turns | None = None,
        timeout_s: float | None = None,
        idle_timeout_s: float = 30.0,
        profile: str | None = None,
        extra_margin: float | None = None,
        on_withheld: OnWithheld = "raise",
        fallback: Fallback | None = None,
        buffer_bytes_max: int = 1024 * 1024,
        request_id: str | None = None,
    ) -> AsyncGuarded[Piece]:
        """As SafetyFilter.guard: `async for text in safety_filter.guard(tokens, prompt=prompt): await show(text)`.

        The source is read ahead in a task; one that is a plain iterable gets threads.
        """
        question = Question(
            [Exchange(completion="", prompt=prompt, turns=turns)],
            TIMEOUT_S if timeout_s is None else timeout_s,
            profile,
            extra_margin,
            request_id,
        )
        terms = Terms(
            question=question,
            idle_timeout_s=idle_timeout_s,
            buffer_bytes_max=buffer_bytes_max,
            on_withheld=on_withheld,
            fallback=fallback,
        )
        return AsyncGuarded(AsyncFlow(stream, terms, self, partial(self._open_stream, question), self._failure))

    async def select(
        self,
        candidates: Iterable[Text],
        *,
        prompt: Text = "",
        turns: Turns | None = None,
        rounds: int = 1,
        timeout_s: float | None = None,
        profile: str | None = None,
        extra_margin: float | None = None,
        request_id: str | None = None,
    ) -> Selection:
        """The candidate to release, if there is one. `rounds` is how many such calls there will be for the prompt at most."""
        exchanges = candidate_exchanges(candidates, prompt, turns)
        question = Question(exchanges, timeout_s, profile, extra_margin, request_id, rounds=rounds)
        return await self._choose(question)

    async def generate_safely(
        self,
        generate: Callable[[int], Awaitable[Iterable[Text] | Text] | Iterable[Text] | Text],
        *,
        fallback: Fallback,
        prompt: Text = "",
        turns: Turns | None = None,
        n: int = 4,
        rounds: int = 2,
        timeout_s: float | None = None,
        profile: str | None = None,
        extra_margin: float | None = None,
        request_id: str | None = None,
    ) -> Generated:
        """Up to `rounds` times `n` completions until one is released, else the fallback.

        `generate`, a coroutine function or a plain one, which gets a thread, is given a number and returns at most as many
        completions, or one. What it raises passes through.
        """
        loop = generating.loop(n, rounds, fallback, self.enforcement)
        context: dict[str, Any] = {"prompt": prompt, "turns": turns, "rounds": rounds}
        context |= {"timeout_s": timeout_s, "profile": profile, "extra_margin": extra_margin, "request_id": request_id}
        try:
            step = next(loop)
            while True:
                if isinstance(step, generating.Draw):
                    drawn = await asyncio.to_thread(generate, step.count)
                    drawn = await drawn if isawaitable(drawn) else drawn
                    step = loop.send(await asyncio.to_thread(generating.candidates_of, drawn, step.count))
                else:
                    step = loop.send(await self.select(step.candidates, **context))
        except StopIteration as done:
            generated: Generated = done.value
            return generated

    async def report(
        self, verdict_id: str, label: Label, *, categories: Iterable[str] = (), timeout_s: float | None = None
    ) -> None:
        """Says what became of an earlier verdict, for labelling. Raises CallError when it was not kept."""
        try:
            step = screening.report_send(verdict_id, label, categories, timeout_s, self)
            screening.kept(await self._perform(step))
        except Exception as error:
            raise call_error(error) from None

    async def ensemble(self, *, timeout_s: float | None = None) -> pb.GetEnsembleResponse:
        """What is in force: members, digests, profiles, certificate. Raises CallError."""
        try:
            step = screening.ensemble_send(timeout_s, self)
            return screening.ensemble_of(await self._perform(step))
        except Exception as error:
            raise call_error(error) from None

    async def close(self) -> None:
        """Ends the calls that are under way in this loop; every later one is withheld."""
        self._links.closed = True
        link = self._links.drop(_owner())
        if link is not None:
            await link.streams.close()
            await link.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, method: Method, question: Question) -> list[Verdict]:
        try:
            return await self._carry_out(screening.plan(method, question, self, self._link().bucket))
        except Exception as error:
            return screening.withheld_all(error, question, self)

    async def _choose(self, question: Question) -> Selection:
        try:
            return await self._carry_out(selecting.plan(question, self, self._link().bucket))
        except Exception as error:
            return selecting.none_of(error, question, self)

    async def _carry_out(self, plan: Plan[Result]) -> Result:
        try:
            step = next(plan)
            while True:
                step = plan.send(await self._perform(step))
        except StopIteration as done:
            result: Result = done.value
            return result

    async def _perform(self, step: Send | Wait) -> Answer:
        try:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                return None
            return await self._send(step)
        except asyncio.CancelledError:
            # gRPC raises it as well when the channel is closed under a call, which cancels no task.
            if _is_being_cancelled():
                raise
            return self._failure(CallError(LocalReason.CANCELLED))
        except Exception as error:
            return self._failure(error)

    def _failure(self, error: Exception) -> CallError:
        return CallError(LocalReason.CLIENT_CLOSED) if self._links.closed else call_error(error)

    async def _send(self, step: Send) -> Reply:
        link, begun = self._link(), time.monotonic()
        if self.multiplexed and isinstance(step.message, pb.ScreenBatchRequest):
            small = step.message.ByteSize() <= STREAMED_BYTES_MAX
            stream = link.streams.choose(step.metadata) if small else None
            if stream is not None:
                with suppress(NotJudgedError):
                    return await stream.ask(step.message, step.timeout_s)
        left_s = step.timeout_s - (time.monotonic() - begun)
        if left_s <= 0:
            raise CallError(LocalReason.DEADLINE)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = link.channel.unary_unary(step.path)
        return await call(step.message.SerializeToString(), timeout=left_s, metadata=step.metadata)

    @contextmanager
    def _open_stream(self, question: Question, timeout_s: float) -> Iterator[Call]:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        method = self._link().channel.stream_stream(screening.SCREEN_STREAM_PATH)
        call = method(timeout=timeout_s, metadata=screening.metadata_of(question, self))
        try:
            yield call
        finally:
            call.cancel()  # no more than a word, once it has ended

    def _link(self) -> _Link:
        return self._links.current(_owner(), self._connect)

    def _connect(self) -> _Link:
        for pid, loop in self._links.owners():
            if pid != os.getpid():  # grpc.aio hangs or aborts in the child of a process that has used it
                raise CallError(LocalReason.FORKED)
            if loop.is_closed():
                self._links.drop((pid, loop))
        target, arguments = address(self.targets), options(self.authority)
        credentials = self.channel_credentials()
        if credentials is None:
            channel = grpc.aio.insecure_channel(target, arguments)
        else:
            channel = grpc.aio.secure_channel(target, credentials, arguments)
        return _Link(channel, TokenBucket(self.retry), Streams(channel, servers(self.targets)))


def _owner() -> Owner:
    return os.getpid(), asyncio.get_running_loop()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
