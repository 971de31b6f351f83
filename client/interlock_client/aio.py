"""The client for asyncio. Everything that decides is in screening.py; here bytes are sent and waits are awaited."""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc.aio
from interlock.v1 import safety_filter_pb2 as pb

from . import screening
from .channel import Links, address, options, servers
from .errors import CallError, LocalReason, call_error
from .requests import Exchange, Question, Text, Turns, listed
from .responses import Reply
from .retry import TokenBucket
from .screening import Answer, Method, Send, Wait
from .settings import ClientSettings, Priority
from .stream import STREAMED_BYTES_MAX, NotJudgedError, Streams
from .verdict import Verdict

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

    `screen` and `screen_batch` raise nothing but the cancellation of the task that awaits them.
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
            plan = screening.plan(method, question, self, self._link().bucket)
            step = next(plan)
            while True:
                step = plan.send(await self._perform(step))
        except StopIteration as done:
            verdicts: list[Verdict] = done.value
            return verdicts
        except Exception as error:
            return screening.withheld_all(error, question, self)

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
            return CallError(LocalReason.CLIENT_CLOSED if self._links.closed else LocalReason.CANCELLED)
        except Exception as error:
            return CallError(LocalReason.CLIENT_CLOSED) if self._links.closed else error

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

    def _link(self) -> _Link:
        return self._links.current(_owner(), self._connect)

    def _connect(self) -> _Link:
        for pid, loop in self._links.owners():
            if pid != os.getpid():  # grpc.aio hangs or aborts in the child of a process that has used it
                raise CallError(LocalReason.FORKED)
            if loop.is_closed():
                self._links.drop((pid, loop))
        target, arguments = address(self.targets), options(self.authority)
        if self.credentials is None:
            channel = grpc.aio.insecure_channel(target, arguments)
        else:
            channel = grpc.aio.secure_channel(target, self.credentials, arguments)
        return _Link(channel, TokenBucket(self.retry), Streams(channel, servers(self.targets)))


def _owner() -> Owner:
    return os.getpid(), asyncio.get_running_loop()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
