"""What callers hand in, and the messages that it becomes. PURE. A mistake raises CallError(INVALID_CALL).

Texts are encoded strictly: nothing is replaced, guessed or cut on the way to the server.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeVar

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason
from .settings import ClientSettings, Priority

Text = str | bytes
Speaker = Literal["", "system", "user", "assistant"]
Turns = Sequence[tuple[Speaker, Text]]
Label = Literal["harmful", "fine"]

SPEAKERS = MappingProxyType(
    {
        "": pb.SPEAKER_UNSPECIFIED,
        "system": pb.SPEAKER_SYSTEM,
        "user": pb.SPEAKER_USER,
        "assistant": pb.SPEAKER_ASSISTANT,
    }
)
DETAILS = MappingProxyType({"decision": pb.DETAIL_DECISION, "reasons": pb.DETAIL_REASONS, "full": pb.DETAIL_FULL})
PRIORITIES = MappingProxyType({"interactive": pb.PRIORITY_INTERACTIVE, "bulk": pb.PRIORITY_BULK})
ENFORCEMENTS = MappingProxyType({"enforce": pb.ENFORCEMENT_ENFORCE, "observe": pb.ENFORCEMENT_OBSERVE})
LABELS = MappingProxyType({"harmful": pb.FEEDBACK_LABEL_HARMFUL, "fine": pb.FEEDBACK_LABEL_FINE})
_Item = TypeVar("_Item")
_Screen = TypeVar("_Screen", pb.ScreenRequest, pb.ScreenBatchRequest)
_R = TypeVar("_R", pb.ScreenRequest, pb.ScreenBatchRequest, pb.SelectRequest, pb.ScreenStreamStart)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A completion and the prompt, or the earlier turns, in whose light it is judged. Its repr shows no text."""

    completion: Text = field(repr=False)
    prompt: Text = field(default="", repr=False)
    turns: Turns | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Question:
    """The arguments of one call; None means the client's own setting."""

    exchanges: Sequence[Exchange | None]
    timeout_s: float | None = None
    profile: str | None = None
    extra_margin: float | None = None
    request_id: str | None = None
    priority: Priority | None = None
    rounds: int = 1


@dataclass(frozen=True)
class Prepared:
    """An exchange that can be sent, and the digest that its verdict must carry."""

    message: pb.Exchange = field(repr=False)
    sha256: bytes


def listed(items: Iterable[_Item]) -> list[_Item | None]:
    """The items of a batch. What cannot be listed counts as one item that is none: no list of verdicts is empty by
    mistake, because `all([])` is true."""
    try:
        return list(items)
    except Exception:
        return [None]


def candidate_exchanges(candidates: Iterable[Text], prompt: Text, turns: Turns | None) -> list[Exchange | None]:
    """Each candidate in the light of the same prompt or turns. One text is no list of candidates."""
    texts = [None] if isinstance(candidates, str | bytes) else listed(candidates)
    return [None if text is None else Exchange(completion=text, prompt=prompt, turns=turns) for text in texts]


def prepared(exchange: object) -> Prepared:
    """Encodes one exchange."""
    if not isinstance(exchange, Exchange):
        raise CallError(LocalReason.INVALID_CALL, "not an Exchange")
    completion = encoded(exchange.completion)
    turns = [_turn(turn) for turn in exchange.turns or ()]
    message = pb.Exchange(prompt=encoded(exchange.prompt), turns=turns, completion=completion)
    return Prepared(message, hashlib.sha256(completion).digest())


def encoded(text: object) -> bytes:
    """The bytes of a text; the bytes of anything else would be a guess."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise CallError(LocalReason.INVALID_CALL, "text is neither str nor bytes")
    try:
        return text.encode()
    except UnicodeEncodeError:
        # `from None`: the original error holds the text.
        raise CallError(LocalReason.INVALID_CALL, "text has lone surrogates") from None


def timeout_of(question: Question, settings: ClientSettings) -> float:
    """The seconds that this call may take; zero or less means that they are used up already."""
    timeout_s = settings.timeout_s if question.timeout_s is None else question.timeout_s
    if not isinstance(timeout_s, int | float) or not math.isfinite(timeout_s):
        raise CallError(LocalReason.INVALID_CALL, "timeout_s is not a number of seconds")
    return timeout_s


def screen_request(asked: Sequence[Prepared], question: Question, settings: ClientSettings) -> pb.ScreenRequest:
    """The ScreenRequest for the only exchange."""
    return _prioritised(pb.ScreenRequest(exchange=asked[0].message), question, settings)


def batch_request(asked: Sequence[Prepared], question: Question, settings: ClientSettings) -> pb.ScreenBatchRequest:
    """The ScreenBatchRequest for all exchanges."""
    return _prioritised(pb.ScreenBatchRequest(exchanges=[one.message for one in asked]), question, settings)


def select_request(asked: Sequence[Prepared], question: Question, settings: ClientSettings) -> pb.SelectRequest:
    """The SelectRequest for exchanges that differ in their completions only."""
    context = asked[0].message
    try:
        request = pb.SelectRequest(prompt=context.prompt, turns=context.turns, rounds=question.rounds)
    except (TypeError, ValueError):
        raise CallError(LocalReason.INVALID_CALL, "rounds is no number of rounds") from None
    request.candidates.extend(one.message.completion for one in asked)
    return _described(request, question, settings)


def stream_start(question: Question, settings: ClientSettings) -> pb.ScreenStreamStart:
    """The first message of a stream, from the prompt or the turns of the only exchange."""
    context = prepared(question.exchanges[0]).message
    return _described(pb.ScreenStreamStart(prompt=context.prompt, turns=context.turns), question, settings)


def report_request(verdict_id: str, label: Label, categories: Iterable[str]) -> pb.ReportRequest:
    """The ReportRequest on an earlier verdict."""
    if not isinstance(label, str) or label not in LABELS:
        raise CallError(LocalReason.INVALID_CALL, "unknown label")
    try:
        return pb.ReportRequest(verdict_id=verdict_id, label=LABELS[label], categories=categories)
    except (TypeError, ValueError):
        raise CallError(LocalReason.INVALID_CALL, "verdict_id or categories have a wrong type") from None


def _turn(turn: object) -> pb.Turn:
    if not isinstance(turn, tuple | list) or len(turn) != 2:
        raise CallError(LocalReason.INVALID_CALL, "a turn is not (speaker, text)")
    speaker, text = turn
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        raise CallError(LocalReason.INVALID_CALL, "unknown speaker")
    return pb.Turn(speaker=SPEAKERS[speaker], text=encoded(text))


def _prioritised(request: _Screen, question: Question, settings: ClientSettings) -> _Screen:
    priority = settings.priority if question.priority is None else question.priority
    if not isinstance(priority, str) or priority not in PRIORITIES:
        raise CallError(LocalReason.INVALID_CALL, "unknown priority")
    request.priority = PRIORITIES[priority]
    return _described(request, question, settings)


def _described(request: _R, question: Question, settings: ClientSettings) -> _R:
    try:
        request.profile = settings.profile if question.profile is None else question.profile
        request.extra_margin = settings.extra_margin if question.extra_margin is None else question.extra_margin
    except (TypeError, ValueError):
        raise CallError(LocalReason.INVALID_CALL, "profile or extra_margin has a wrong type") from None
    request.detail = DETAILS[settings.detail]
    request.enforcement = ENFORCEMENTS[settings.enforcement]
    return request
