"""Filters without a server, for the tests of our callers: same methods, same settings, the same strict verdicts.

A fake releases only what a rule releases, so a test that forgot its rules sees everything withheld.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from interlock.v1 import safety_filter_pb2 as pb

from .aio import AsyncSafetyFilter
from .client import SafetyFilter
from .errors import CallError, LocalReason
from .requests import Exchange, Question, prepared
from .responses import withheld
from .screening import Method
from .settings import ClientSettings
from .verdict import Verdict

Rule = tuple[str | Callable[[Exchange], bool], Verdict]

RELEASE = Verdict(decision="RELEASE", reasons=(), local=False)


def withhold(*reasons: str, action: str = "REGENERATE") -> Verdict:
    """A verdict of the server for a rule; HARMFUL if no reason is named."""
    return Verdict(reasons=reasons or ("HARMFUL",), action=action, local=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rules(ClientSettings):
    """What both fakes know. The first rule that matches gives the verdict; a string matches inside the completion."""

    targets: str | Sequence[str] = "fake:0"
    rules: Sequence[Rule] = ()
    description: pb.GetEnsembleResponse = field(default_factory=pb.GetEnsembleResponse)
    questions: list[Question] = field(init=False, default_factory=list)  # every call, oldest first

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

    def _ask(self, method: Method, question: Question) -> list[Verdict]:
        self.questions.append(question)
        return [self._judge(exchange, self._links.closed) for exchange in question.exchanges]


@dataclass(frozen=True, kw_only=True, eq=False)
class FakeAsyncSafetyFilter(_Rules, AsyncSafetyFilter):
    """Stands in for AsyncSafetyFilter."""

    async def ensemble(self, *, timeout_s: float | None = None) -> pb.GetEnsembleResponse:
        return self.description

    async def _ask(self, method: Method, question: Question) -> list[Verdict]:
        self.questions.append(question)
        return [self._judge(exchange, self._links.closed) for exchange in question.exchanges]


def _matches(matches: str | Callable[[Exchange], bool], exchange: Exchange | None) -> bool:
    if exchange is None:
        return False
    if callable(matches):
        return matches(exchange)
    completion = exchange.completion
    return matches in (completion if isinstance(completion, str) else completion.decode(errors="replace"))
