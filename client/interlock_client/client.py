"""The client for threads. Everything that decides is in screening.py; here bytes are sent and waits are slept."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
from interlock.v1 import safety_filter_pb2 as pb

from . import screening
from .channel import Links, address, options
from .errors import CallError, LocalReason, call_error
from .requests import Exchange, Question, Text, Turns, listed
from .retry import TokenBucket
from .screening import Answer, Method, Send, Wait
from .settings import ClientSettings, Priority
from .verdict import Verdict

# How much longer than gRPC itself a forked child waits before it gives up an unanswered call.
FORKED_GRACE_S = 0.25


@dataclass(frozen=True)
class _Link:
    channel: grpc.Channel
    bucket: TokenBucket


@dataclass(frozen=True, kw_only=True, eq=False)
class SafetyFilter(ClientSettings):
    """Asks Interlock whether completions may be released. Settings: see ClientSettings. Thread-safe; survives a fork.

    `screen` and `screen_batch` never raise: whatever goes wrong, the verdict is withheld and says why.
    """

    _links: Links[int, _Link] = field(init=False, repr=False, default_factory=Links)

    def screen(
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
        return self._ask(screening.SCREEN, question)[0]

    def screen_batch(
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
        return self._ask(screening.SCREEN_BATCH, question)

    def ensemble(self, *, timeout_s: float | None = None) -> pb.GetEnsembleResponse:
        """What is in force: members, digests, profiles, certificate. Raises CallError."""
        try:
            step = screening.ensemble_send(timeout_s, self)
            return screening.ensemble_of(self._perform(step))
        except Exception as error:
            raise call_error(error) from None

    def close(self) -> None:
        """Ends the calls that are under way; every later one is withheld."""
        self._links.closed = True
        link = self._links.drop(os.getpid())
        if link is not None:
            link.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, method: Method, question: Question) -> list[Verdict]:
        try:
            plan = screening.plan(method, question, self, self._link().bucket)
            step = next(plan)
            while True:
                step = plan.send(self._perform(step))
        except StopIteration as done:
            verdicts: list[Verdict] = done.value
            return verdicts
        except Exception as error:
            return screening.withheld_all(error, question, self)

    def _perform(self, step: Send | Wait) -> Answer:
        try:
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                return None
            with self._links.in_flight():
                return self._send(step)
        except Exception as error:
            return CallError(LocalReason.CLIENT_CLOSED) if self._links.closed else error

    def _send(self, step: Send) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._link().channel.unary_unary(step.path)
        payload = step.message.SerializeToString()
        if not self._links.forked:
            return call(payload, timeout=step.timeout_s, metadata=step.metadata)
        # Where the fork left gRPC's core without its threads nothing there ends a call; a future's timeout is Python's.
        future = call.future(payload, timeout=step.timeout_s, metadata=step.metadata)
        return future.result(timeout=step.timeout_s + FORKED_GRACE_S)

    def _link(self) -> _Link:
        return self._links.current(os.getpid(), self._connect)

    def _connect(self) -> _Link:
        if self._links.forked_in_flight:
            # gRPC skips its fork handlers under calls of other threads; in such a child it may crash or hang.
            raise CallError(LocalReason.FORKED)
        target, arguments = address(self.targets), options(self.authority)
        if self.credentials is None:
            channel = grpc.insecure_channel(target, arguments)
        else:
            channel = grpc.secure_channel(target, self.credentials, arguments)
        return _Link(channel, TokenBucket(self.retry))
