"""The client for threads. Everything that decides is in screening.py, selecting.py, generating.py and guarding.py; here
bytes are sent and waits are slept.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
from interlock.v1 import safety_filter_pb2 as pb

from . import generating, screening, selecting
from .channel import Links, address, options
from .errors import CallError, LocalReason, call_error
from .generating import Generated
from .guarded import Call, Flow, Guarded
from .guarding import TIMEOUT_S, OnWithheld, Piece, Terms
from .requests import Exchange, Label, Question, Text, Turns, candidate_exchanges, listed
from .retry import TokenBucket
from .screening import Answer, Method, Plan, Result, Send, Wait
from .selecting import Selection
from .settings import ClientSettings, Priority
from .verdict import Fallback, Verdict

# How much longer than gRPC itself a forked child waits before it gives up an unanswered call.
FORKED_GRACE_S = 0.25


@dataclass(frozen=True)
class _Link:
    channel: grpc.Channel
    bucket: TokenBucket


@dataclass(frozen=True, kw_only=True, eq=False)
class SafetyFilter(ClientSettings):
    """Asks Interlock whether completions may be released. Settings: see ClientSettings. Thread-safe; survives a fork.

    `screen`, `screen_batch` and `select` never raise: whatever goes wrong, the verdict is withheld and says why.
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

    def guard(
        self,
        stream: Iterable[Piece],
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
    ) -> Guarded[Piece]:
        """Passes on a stream, of which nothing comes out before the server has released it.

        `for text in safety_filter.guard(tokens, prompt=prompt): show(text)`

        When it is withheld it raises Withheld, or, with `on_withheld="fallback"`, ends with the fallback: see `verdict` of the
        guard. What came out before should then be taken back (the action is RETRACT). Errors of the source pass through. The
        source is read ahead in a thread, but not while nobody takes what is released, and is closed with the guard.

        `timeout_s` (None: 300) is for the whole stream, `idle_timeout_s` for each piece and for the verdict after the last.
        More than `buffer_bytes_max` that is not released yet is withheld. There is no second attempt. In observe mode
        everything passes as it comes.
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
        return Guarded(Flow(stream, terms, self, partial(self._open_stream, question), self._failure))

    def select(
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
        return self._choose(question)

    def generate_safely(
        self,
        generate: Callable[[int], Iterable[Text] | Text],
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

        `generate` is given a number and returns at most as many completions, or one. What it raises passes through.
        """
        loop = generating.loop(n, rounds, fallback, self.enforcement)
        context: dict[str, Any] = {"prompt": prompt, "turns": turns, "rounds": rounds}
        context |= {"timeout_s": timeout_s, "profile": profile, "extra_margin": extra_margin, "request_id": request_id}
        try:
            step = next(loop)
            while True:
                if isinstance(step, generating.Draw):
                    step = loop.send(generating.candidates_of(generate(step.count), step.count))
                else:
                    step = loop.send(self.select(step.candidates, **context))
        except StopIteration as done:
            generated: Generated = done.value
            return generated

    def report(
        self, verdict_id: str, label: Label, *, categories: Iterable[str] = (), timeout_s: float | None = None
    ) -> None:
        """Says what became of an earlier verdict, for labelling. Raises CallError when it was not kept."""
        try:
            step = screening.report_send(verdict_id, label, categories, timeout_s, self)
            screening.kept(self._perform(step))
        except Exception as error:
            raise call_error(error) from None

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
            return self._carry_out(screening.plan(method, question, self, self._link().bucket))
        except Exception as error:
            return screening.withheld_all(error, question, self)

    def _choose(self, question: Question) -> Selection:
        try:
            return self._carry_out(selecting.plan(question, self, self._link().bucket))
        except Exception as error:
            return selecting.none_of(error, question, self)

    def _carry_out(self, plan: Plan[Result]) -> Result:
        try:
            step = next(plan)
            while True:
                step = plan.send(self._perform(step))
        except StopIteration as done:
            result: Result = done.value
            return result

    def _perform(self, step: Send | Wait) -> Answer:
        try:
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                return None
            with self._links.in_flight():
                return self._send(step)
        except Exception as error:
            return self._failure(error)

    def _failure(self, error: Exception) -> CallError:
        return CallError(LocalReason.CLIENT_CLOSED) if self._links.closed else call_error(error)

    def _send(self, step: Send) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._link().channel.unary_unary(step.path)
        payload = step.message.SerializeToString()
        if not self._links.forked:
            return call(payload, timeout=step.timeout_s, metadata=step.metadata)
        # Where the fork left gRPC's core without its threads nothing there ends a call; a future's timeout is Python's.
        future = call.future(payload, timeout=step.timeout_s, metadata=step.metadata)
        return future.result(timeout=step.timeout_s + FORKED_GRACE_S)

    @contextmanager
    def _open_stream(self, question: Question, messages: Iterator[bytes], timeout_s: float) -> Iterator[Call]:
        method: grpc.StreamStreamMultiCallable[bytes, bytes]
        method = self._link().channel.stream_stream(screening.SCREEN_STREAM_PATH)
        with self._links.in_flight():
            call = method(messages, timeout=timeout_s, metadata=screening.metadata_of(question, self))
            try:
                yield call
            finally:
                call.cancel()  # no more than a word, once it has ended

    def _link(self) -> _Link:
        return self._links.current(os.getpid(), self._connect)

    def _connect(self) -> _Link:
        if self._links.forked_in_flight:
            # gRPC skips its fork handlers under calls of other threads; in such a child it may crash or hang.
            raise CallError(LocalReason.FORKED)
        target, arguments = address(self.targets), options(self.authority)
        credentials = self.channel_credentials()
        if credentials is None:
            channel = grpc.insecure_channel(target, arguments)
        else:
            channel = grpc.secure_channel(target, credentials, arguments)
        return _Link(channel, TokenBucket(self.retry))
