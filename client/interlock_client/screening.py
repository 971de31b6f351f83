"""One call, from arguments to verdicts, without I/O: it yields what to do next and is sent what came of it.

Both clients run this same plan; they differ in how they send and how they wait. Errors are values here: a step is
answered with a reply, with an Exception, or (after Wait) with None.

    prepare -> Send -> all final? -> verdicts
                     | no, and a retry fits -> Wait -> Send (what was not final) -> verdicts
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason, call_error
from .requests import (
    Exchange,
    Label,
    Prepared,
    Question,
    batch_request,
    prepared,
    report_request,
    screen_request,
    select_request,
    timeout_of,
)
from .responses import Reply, batch_verdicts, bytes_of, screen_verdicts, select_verdicts, verdict_of, withheld
from .retry import TokenBucket, better, retry_wait_s, worth_retrying
from .settings import ClientSettings
from .tracing import with_current_trace
from .verdict import Verdict

Request = pb.ScreenRequest | pb.ScreenBatchRequest | pb.SelectRequest | pb.GetEnsembleRequest | pb.ReportRequest


@dataclass(frozen=True)
class Method:
    """An RPC that judges, as the two ends of a plan see it."""

    path: str
    request: Callable[[Sequence[Prepared], Question, ClientSettings], Request]
    verdicts: Callable[[Reply], Sequence[pb.Verdict]]


SERVICE = pb.DESCRIPTOR.services_by_name["SafetyFilterService"].full_name
SCREEN = Method(f"/{SERVICE}/Screen", screen_request, screen_verdicts)
SCREEN_BATCH = Method(f"/{SERVICE}/ScreenBatch", batch_request, batch_verdicts)
SELECT = Method(f"/{SERVICE}/Select", select_request, select_verdicts)
SCREEN_STREAM_PATH = f"/{SERVICE}/ScreenStream"
SCREEN_MANY_PATH = f"/{SERVICE}/ScreenMany"
GET_ENSEMBLE_PATH = f"/{SERVICE}/GetEnsemble"
REPORT_PATH = f"/{SERVICE}/Report"

Pairs = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Send:
    """Call the server."""

    path: str
    message: Request = field(repr=False)
    timeout_s: float
    metadata: Pairs = field(repr=False)


@dataclass(frozen=True)
class Wait:
    """Let that many seconds pass."""

    seconds: float


Answer = Reply | Exception | None
Result = TypeVar("Result")
Plan = Generator[Send | Wait, Answer, Result]
Asked = Mapping[int, Prepared]  # by position in the question


@dataclass(frozen=True)
class Call:
    """What stays the same over the attempts of one call."""

    method: Method
    question: Question
    settings: ClientSettings
    metadata: Pairs = field(repr=False)
    deadline: float
    clock: Callable[[], float]

    def left_s(self) -> float:
        return self.deadline - self.clock()


@dataclass(frozen=True)
class Attempt:
    """What came of one: verdicts by position, and the reply that they were read from, if it could be read."""

    verdicts: dict[int, Verdict]
    reply: Reply | None = field(default=None, repr=False)


def plan(
    method: Method,
    question: Question,
    settings: ClientSettings,
    bucket: TokenBucket,
    clock: Callable[[], float] = time.monotonic,
) -> Plan[list[Verdict]]:
    """Judges the exchanges of a question, each independently of the others' failures."""
    call = begin(method, question, settings, clock)
    verdicts, asked = prepare(question.exchanges, settings)
    verdicts |= (yield from attempt(call, asked)).verdicts
    bucket.record(verdicts.values())

    again = {i: one for i, one in asked.items() if worth_retrying(verdicts[i])}
    wait_s = retry_wait_s([verdicts[i] for i in again], call.left_s(), settings.retry)
    if wait_s is not None and bucket.allows_retry:
        yield Wait(wait_s)
        second = (yield from attempt(call, again)).verdicts
        bucket.record(second.values())
        verdicts |= {i: better(verdicts[i], verdict) for i, verdict in second.items()}
    return [verdicts[i] for i in range(len(question.exchanges))]


def withheld_all(error: Exception, question: Question, settings: ClientSettings) -> list[Verdict]:
    """The answer when the plan itself, or the client around it, failed."""
    return [withheld(call_error(error), settings) for _ in question.exchanges]


def begin(method: Method, question: Question, settings: ClientSettings, clock: Callable[[], float]) -> Call:
    """A call whose time runs from now on."""
    deadline = clock() + timeout_of(question, settings)
    return Call(method, question, settings, metadata_of(question, settings), deadline, clock)


def ensemble_send(timeout_s: float | None, settings: ClientSettings) -> Send:
    """The only step of GetEnsemble, which is asked once."""
    return _single(GET_ENSEMBLE_PATH, pb.GetEnsembleRequest(), timeout_s, settings)


def ensemble_of(answer: Answer) -> pb.GetEnsembleResponse:
    """The description that came back; raises what came instead."""
    return pb.GetEnsembleResponse.FromString(bytes_of(_reply(answer)))


def report_send(
    verdict_id: str, label: Label, categories: Iterable[str], timeout_s: float | None, settings: ClientSettings
) -> Send:
    """The only step of Report, which is asked once."""
    return _single(REPORT_PATH, report_request(verdict_id, label, categories), timeout_s, settings)


def kept(answer: Answer) -> None:
    """Raises what came instead of the receipt for a report."""
    pb.ReportResponse.FromString(bytes_of(_reply(answer)))


def metadata_of(question: Question, settings: ClientSettings) -> Pairs:
    """The pairs to send with a call."""
    said = settings.metadata() if callable(settings.metadata) else settings.metadata
    pairs = with_current_trace((*said, *settings.caller_metadata()))
    return pairs if question.request_id is None else (*pairs, ("x-request-id", question.request_id))


def prepare(
    exchanges: Sequence[Exchange | None], settings: ClientSettings
) -> tuple[dict[int, Verdict], dict[int, Prepared]]:
    """Verdicts on what cannot be sent, and what can, by position."""
    verdicts: dict[int, Verdict] = {}
    asked: dict[int, Prepared] = {}
    for i, exchange in enumerate(exchanges):
        try:
            asked[i] = prepared(exchange)
        except Exception as error:
            verdicts[i] = withheld(call_error(error), settings)
    return verdicts, asked


def attempt(call: Call, asked: Asked) -> Plan[Attempt]:
    """Asks once, if there is anything to ask and time left."""
    if not asked:
        return Attempt({})
    try:
        message = call.method.request(list(asked.values()), call.question, call.settings)
        left_s = call.left_s()
        if left_s <= 0:
            raise CallError(LocalReason.DEADLINE)
        answer = yield Send(call.method.path, message, left_s, call.metadata)
        reply = _reply(answer)
        messages = call.method.verdicts(reply)
        if len(messages) != len(asked):
            raise CallError(LocalReason.MALFORMED_RESPONSE, f"{len(messages)} verdicts for {len(asked)}")
        pairs = zip(asked.items(), messages, strict=True)
        return Attempt({i: verdict_of(message, one.sha256, call.settings) for (i, one), message in pairs}, reply)
    except Exception as error:
        failure = call_error(error)
        return Attempt({i: withheld(failure, call.settings, one.sha256) for i, one in asked.items()})


def _single(path: str, message: Request, timeout_s: float | None, settings: ClientSettings) -> Send:
    question = Question(exchanges=(), timeout_s=timeout_s)
    return Send(path, message, timeout_of(question, settings), metadata_of(question, settings))


def _reply(answer: Answer) -> Reply:
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        raise CallError(LocalReason.MALFORMED_RESPONSE, "no message")
    return answer
