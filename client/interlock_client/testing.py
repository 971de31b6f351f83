"""Filters without a server, for the tests of our callers: same methods, same settings, the same strict verdicts.

A fake releases only what a rule releases, so a test that forgot its rules sees everything withheld. A guarded stream is
released sentence by sentence as far as the rules release what has come so far, and judged as a whole at its end.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from interlock.v1 import safety_filter_pb2 as pb

from . import guarded, guarded_aio
from .aio import AsyncSafetyFilter
from .client import SafetyFilter
from .errors import CallError, LocalReason
from .requests import Exchange, Label, Question, Text, prepared, report_request
from .responses import withheld
from .screening import Method
from .selecting import Selection
from .settings import ClientSettings
from .verdict import Verdict

Rule = tuple[str | Callable[[Exchange], bool], Verdict]

_SENTENCE_ENDS = (b". ", b"! ", b"? ", b"\n")

RELEASE = Verdict(decision="RELEASE", reasons=(), local=False)


def withhold(*reasons: str, action: str = "REGENERATE") -> Verdict:
    """A verdict of the server for a rule; HARMFUL if no reason is named."""
    return Verdict(reasons=reasons or ("HARMFUL",), action=action, local=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rules(ClientSettings):
    """What both fakes know. The first rule that matches gives the verdict; a string matches inside the completion.

    `questions` has every call that asked for a verdict, oldest first, `reports` the arguments of every report.
    """

    targets: str | Sequence[str] = "fake:0"
    rules: Sequence[Rule] = ()
    description: pb.GetEnsembleResponse = field(default_factory=pb.GetEnsembleResponse)
    questions: list[Question] = field(init=False, default_factory=list)
    reports: list[tuple[str, Label, tuple[str, ...]]] = field(init=False, default_factory=list)

    def _answer(self, question: Question, closed: bool) -> list[Verdict]:
        self.questions.append(question)
        return [self._judge(exchange, closed) for exchange in question.exchanges]

    def _select(self, question: Question, closed: bool) -> Selection:
        verdicts = self._answer(question, closed)
        released = [place for place, verdict in enumerate(verdicts) if verdict]
        index = max(released, key=lambda place: verdicts[place].margin or 0.0, default=None)
        exchange = None if index is None else question.exchanges[index]
        text = None if exchange is None else exchange.completion
        return Selection(index=index, text=text, verdicts=verdicts, looks=len(verdicts) * question.rounds)

    def _keep(self, verdict_id: str, label: Label, categories: Iterable[str]) -> None:
        request = report_request(verdict_id, label, categories)
        self.reports.append((verdict_id, label, tuple(request.categories)))

    def _judge(self, exchange: Exchange | None, closed: bool) -> Verdict:
        try:
            if closed:
                raise CallError(LocalReason.CLIENT_CLOSED)
            sha256 = prepared(exchange).sha256
        except CallError as error:
            return withheld(error, self)
        chosen = next((verdict for matches, verdict in self.rules if _matches(matches, exchange)), Verdict())
        answered = replace(chosen, sent_sha256=sha256, enforcement=self.enforcement)
        return answered if chosen.local else replace(answered, completion_sha256=sha256)


@dataclass(frozen=True, kw_only=True, eq=False)
class FakeSafetyFilter(_Rules, SafetyFilter):
    """Stands in for SafetyFilter: `FakeSafetyFilter(rules=[("hello", RELEASE)])`. Calls are kept in `questions`."""

    def ensemble(self, *, timeout_s: float | None = None) -> pb.GetEnsembleResponse:
        return self.description

    def report(
        self, verdict_id: str, label: Label, *, categories: Iterable[str] = (), timeout_s: float | None = None
    ) -> None:
        self._keep(verdict_id, label, categories)

    def _ask(self, method: Method, question: Question) -> list[Verdict]:
        return self._answer(question, self._links.closed)

    def _choose(self, question: Question) -> Selection:
        return self._select(question, self._links.closed)

    @contextmanager
    def _open_stream(self, question: Question, messages: Iterator[bytes], timeout_s: float) -> Iterator[guarded.Call]:
        yield _Call(_Growing(self, question, lambda: self._links.closed), messages)


@dataclass(frozen=True, kw_only=True, eq=False)
class FakeAsyncSafetyFilter(_Rules, AsyncSafetyFilter):
    """Stands in for AsyncSafetyFilter."""

    async def ensemble(self, *, timeout_s: float | None = None) -> pb.GetEnsembleResponse:
        return self.description

    async def report(
        self, verdict_id: str, label: Label, *, categories: Iterable[str] = (), timeout_s: float | None = None
    ) -> None:
        self._keep(verdict_id, label, categories)

    async def _ask(self, method: Method, question: Question) -> list[Verdict]:
        return self._answer(question, self._links.closed)

    async def _choose(self, question: Question) -> Selection:
        return self._select(question, self._links.closed)

    @contextmanager
    def _open_stream(self, question: Question, timeout_s: float) -> Iterator[guarded_aio.Call]:
        yield _AsyncCall(_Growing(self, question, lambda: self._links.closed))


class _Growing:
    """The other end of a guarded stream."""

    def __init__(self, rules: _Rules, question: Question, closed: Callable[[], bool]) -> None:
        self._rules = rules
        self._closed = closed
        self._place = len(rules.questions)
        self._text = b""
        self._released = 0
        rules.questions.append(question)

    def answer(self, payload: bytes) -> Iterator[bytes]:
        """What a server says to this message; raises where the rules say that none answers."""
        message = pb.ScreenStreamRequest.FromString(payload)
        self._text += message.chunk
        end = len(self._text)
        if not message.HasField("end"):
            end = max(self._text.rfind(mark) + len(mark) if mark in self._text else 0 for mark in _SENTENCE_ENDS)
            if end <= self._released:
                return
        text = self._text[:end]
        verdict = self._judge(text)
        self._released = end if verdict else self._released
        sha256 = hashlib.sha256(self._text[: self._released]).digest()
        response = pb.ScreenStreamResponse(released_bytes=self._released, released_sha256=sha256)
        if message.HasField("end"):
            if verdict.local:
                raise CallError(LocalReason(verdict.reasons[0]), verdict.cause)
            response.verdict.MergeFrom(_message(verdict))
        yield response.SerializeToString()

    def _judge(self, text: bytes) -> Verdict:
        question = self._rules.questions[self._place]
        exchange = replace(cast(Exchange, question.exchanges[0]), completion=_as_text(text))
        self._rules.questions[self._place] = replace(question, exchanges=[exchange])
        return self._rules._judge(exchange, self._closed())


class _Call:
    """A call of ScreenStream, for threads."""

    def __init__(self, growing: _Growing, messages: Iterator[bytes]) -> None:
        self._growing = growing
        self._messages = messages

    def __iter__(self) -> Iterator[bytes]:
        for message in self._messages:
            yield from self._growing.answer(message)

    def cancel(self) -> None:
        """Nobody is there to be told."""


class _AsyncCall:
    """A call of ScreenStream, for asyncio."""

    def __init__(self, growing: _Growing) -> None:
        self._growing = growing
        self._answers: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def write(self, request: bytes) -> None:
        try:
            for answer in self._growing.answer(request):
                self._answers.put_nowait(answer)
        except Exception as error:
            self._answers.put_nowait(error)

    async def done_writing(self) -> None:
        self._answers.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield answer


def _message(verdict: Verdict) -> pb.Verdict:
    """The verdict as a server sends it, as far as rules fill it in. Names that the contract does not have are left out."""
    reasons, actions = dict(pb.Reason.items()), dict(pb.Action.items())
    return pb.Verdict(
        decision=pb.DECISION_RELEASE if verdict.decision == "RELEASE" else pb.DECISION_WITHHOLD,
        verdict_id=verdict.verdict_id,
        completion_sha256=verdict.completion_sha256,
        reasons=[reasons[f"REASON_{name}"] for name in verdict.reasons if f"REASON_{name}" in reasons],
        action=actions.get(f"ACTION_{verdict.action}", pb.ACTION_UNSPECIFIED),
        retryable=verdict.retryable,
        margin=verdict.margin,
    )


def _as_text(text: bytes) -> Text:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _matches(matches: str | Callable[[Exchange], bool], exchange: Exchange | None) -> bool:
    if exchange is None:
        return False
    if callable(matches):
        return matches(exchange)
    completion = exchange.completion
    return matches in (completion if isinstance(completion, str) else completion.decode(errors="replace"))
