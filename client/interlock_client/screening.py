"""One call, from arguments to verdicts, without I/O: it yields what to do next and is sent what came of it.

Both clients run this same plan; they differ in how they send and how they wait. Errors are values here: a step is
answered with a reply, with an Exception, or (after Wait) with None.

    prepare -> Send -> all final? -> verdicts
                     | no, and a retry fits -> Wait -> Send (what was not final) -> verdicts
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.v1 import safety_filter_pb2 as pb

from .errors import CallError, LocalReason, call_error
from .requests import Exchange, Prepared, Question, batch_request, prepared, screen_request, timeout_of
from .responses import Reply, batch_verdicts, bytes_of, screen_verdicts, verdict_of, withheld
from .retry import TokenBucket, better, retry_wait_s, worth_retrying
from .settings import ClientSettings
from .verdict import Verdict

Request = pb.ScreenRequest | pb.ScreenBatchRequest | pb.GetEnsembleRequest


@dataclass(frozen=True)
class Method:
    """An RPC that judges, as the two ends of a plan see it."""

    path: str
    request: Callable[[Sequence[Prepared], Question, ClientSettings], Request]
    verdicts: Callable[[Reply], Sequence[pb.Verdict]]


SERVICE = pb.DESCRIPTOR.services_by_name["SafetyFilterService"].full_name
SCREEN = Method(f"/{SERVICE}/Screen", screen_request, screen_verdicts)
SCREEN_BATCH = Method(f"/{SERVICE}/ScreenBatch", batch_request, batch_verdicts)
SCREEN_MANY_PATH = f"/{SERVICE}/ScreenMany"
GET_ENSEMBLE_PATH = f"/{SERVICE}/GetEnsemble"


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
Plan = Generator[Send | Wait, Answer, list[Verdict]]
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


def plan(
    method: Method,
    question: Question,
    settings: ClientSettings,
    bucket: TokenBucket,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """Judges the exchanges of a question, each independently of the others' failures."""
    deadline = clock() + timeout_of(question, settings)
    call = Call(method, question, settings, _metadata(question, settings), deadline, clock)
    verdicts, asked = _prepare(question.exchanges, settings)
    verdicts |= yield from _attempt(call, asked)
    bucket.record(verdicts.values())

    again = {i: one for i, one in asked.items() if worth_retrying(verdicts[i])}
    wait_s = retry_wait_s([verdicts[i] for i in again], call.left_s(), settings.retry)
    if wait_s is not None and bucket.allows_retry:
        yield Wait(wait_s)
        second = yield from _attempt(call, again)
        bucket.record(second.values())
        verdicts |= {i: better(verdicts[i], verdict) for i, verdict in second.items()}
    return [verdicts[i] for i in range(len(question.exchanges))]


def withheld_all(error: Exception, question: Question, settings: ClientSettings) -> list[Verdict]:
    """The answer when the plan itself, or the client around it, failed."""
    return [withheld(call_error(error), settings) for _ in question.exchanges]


def ensemble_send(timeout_s: float | None, settings: ClientSettings) -> Send:
    """The only step of GetEnsemble, which is asked once."""
    question = Question(exchanges=(), timeout_s=timeout_s)
    return Send(
        GET_ENSEMBLE_PATH, pb.GetEnsembleRequest(), timeout_of(question, settings), _metadata(question, settings)
    )


def ensemble_of(answer: Answer) -> pb.GetEnsembleResponse:
    """The description that came back; raises what came instead."""
    return pb.GetEnsembleResponse.FromString(bytes_of(_reply(answer)))


def _prepare(
    exchanges: Sequence[Exchange | None], settings: ClientSettings
) -> tuple[dict[int, Verdict], dict[int, Prepared]]:
    verdicts: dict[int, Verdict] = {}
    asked: dict[int, Prepared] = {}
    for i, exchange in enumerate(exchanges):
        try:
            asked[i] = prepared(exchange)
        except Exception as error:
            verdicts[i] = withheld(call_error(error), settings)
    return verdicts, asked


def _attempt(call: Call, asked: Asked) -> Generator[Send | Wait, Answer, dict[int, Verdict]]:
    if not asked:
        return {}
    try:
        message = call.method.request(list(asked.values()), call.question, call.settings)
        left_s = call.left_s()
        if left_s <= 0:
            raise CallError(LocalReason.DEADLINE)
        answer = yield Send(call.method.path, message, left_s, call.metadata)
        messages = call.method.verdicts(_reply(answer))
        if len(messages) != len(asked):
            raise CallError(LocalReason.MALFORMED_RESPONSE, f"{len(messages)} verdicts for {len(asked)}")
        pairs = zip(asked.items(), messages, strict=True)
        return {i: verdict_of(message, one.sha256, call.settings) for (i, one), message in pairs}
    except Exception as error:
        failure = call_error(error)
        return {i: withheld(failure, call.settings, one.sha256) for i, one in asked.items()}


def _reply(answer: Answer) -> Reply:
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        raise CallError(LocalReason.MALFORMED_RESPONSE, "no message")
    return answer


def _metadata(question: Question, settings: ClientSettings) -> Pairs:
    pairs = tuple(settings.metadata() if callable(settings.metadata) else settings.metadata)
    return pairs if question.request_id is None else (*pairs, ("x-request-id", question.request_id))
