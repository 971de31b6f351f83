"""A real gRPC server on port 0 that answers by script: one behaviour per call, the last one for all further calls.

It speaks bytes, so that it can also answer with what no server of ours would.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, NoReturn

import grpc
from interlock.v1 import safety_filter_pb2 as pb

HANG_S_MAX = 20.0
RELEASE = pb.DECISION_RELEASE
SERVICE = "interlock.v1.SafetyFilterService"


class ItemAborted(Exception):
    """An item of a stream ends with a code; the stream goes on."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class ItemContext:
    """What a behaviour asks of the context of a call, for an item of a stream."""

    def __init__(self, stream: grpc.ServicerContext, item: pb.ScreenManyRequest, withdrawn: set[int]) -> None:
        self._item, self._withdrawn = item, withdrawn
        self.invocation_metadata, self.peer = stream.invocation_metadata, stream.peer

    def abort(self, status: grpc.StatusCode, message: str) -> NoReturn:
        raise ItemAborted(status.value[0])

    def is_active(self) -> bool:
        return self._item.sequence not in self._withdrawn

    def time_remaining(self) -> float:
        return self._item.timeout.ToTimedelta().total_seconds()


@dataclass(frozen=True)
class Call:
    """A call as the server saw it."""

    method: str
    payload: bytes
    context: grpc.ServicerContext | ItemContext
    stopping: threading.Event
    time_left_s: float
    peer: str
    metadata: dict[str, str]

    @property
    def request(self) -> Any:
        return getattr(pb, f"{self.method}Request").FromString(self.payload)

    @property
    def exchanges(self) -> Sequence[pb.Exchange]:
        request = self.request
        if isinstance(request, pb.SelectRequest):
            context = {"prompt": request.prompt, "turns": request.turns}
            return [pb.Exchange(completion=candidate, **context) for candidate in request.candidates]
        return [request.exchange] if isinstance(request, pb.ScreenRequest) else request.exchanges


Behaviour = Callable[[Call], bytes]


@dataclass(frozen=True)
class StreamCall:
    """A call of ScreenStream as the server saw it."""

    context: grpc.ServicerContext
    stopping: threading.Event
    metadata: dict[str, str]
    messages: list[pb.ScreenStreamRequest] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def start(self) -> pb.ScreenStreamStart:
        return self.messages[0].start

    @property
    def text(self) -> bytes:
        return b"".join(message.chunk for message in self.messages)

    @property
    def ended(self) -> bool:
        return bool(self.messages) and self.messages[-1].HasField("end")


StreamBehaviour = Callable[[StreamCall], Iterator[bytes]]
"""Asked after each message, what to answer; it may also raise, abort or hang."""


class FakeService(grpc.GenericRpcHandler):
    """Serves until `stop`; keeps the calls that it got."""

    def __init__(self, *script: Behaviour) -> None:
        self.calls: list[Call] = []
        self.guards: list[StreamCall] = []
        self.guard: StreamBehaviour = by_sentences(unless_bad)
        self.cancelled: list[int] = []  # sequences on streams
        self.streams_opened = 0
        self.streams = True
        self._ends: list[Callable[[], None]] = []
        self.called = threading.Event()
        self._script = script
        self._stopping = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=16), handlers=[self])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{self.port}"
        self._server.start()

    @property
    def completions(self) -> list[list[bytes]]:
        """The completions of each call."""
        return [[exchange.completion for exchange in call.exchanges] for call in self.calls]

    def end_streams(self) -> None:
        """Ends those that are open, with OK, whatever they have not answered."""
        for end in self._ends:
            end()

    def kill(self) -> None:
        """Cuts every connection; calls that hang go on doing so."""
        self._server.stop(grace=None).wait(1)

    def stop(self) -> None:
        self._stopping.set()
        self._server.stop(grace=None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        service, _, method = handler_call_details.method.lstrip("/").rpartition("/")
        if service != SERVICE or (method == "ScreenMany" and not self.streams):
            return None  # such as health, which a client takes for healthy where it is not implemented
        if method == "ScreenMany":
            return grpc.stream_stream_rpc_method_handler(self._answer_many)
        if method == "ScreenStream":
            return grpc.stream_stream_rpc_method_handler(self._answer_stream)
        return grpc.unary_unary_rpc_method_handler(lambda payload, context: self._answer(method, payload, context))

    def _answer_many(self, items: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answers the items of a stream side by side, each as a call of ScreenBatch."""
        answers: Queue[bytes | None] = Queue()
        self._ends.append(lambda: answers.put(None))
        withdrawn: set[int] = set()
        if not context.add_callback(lambda: answers.put(None)):  # the caller has gone already
            return

        def answer(item: pb.ScreenManyRequest) -> None:
            inner = ItemContext(context, item, withdrawn)
            try:
                payload = self._answer("ScreenBatch", item.batch.SerializeToString(), inner)
                answers.put(many_response(item.sequence, payload))
            except ItemAborted as aborted:
                response = pb.ScreenManyResponse(sequence=item.sequence, code=aborted.code, message="cannot judge")
                answers.put(response.SerializeToString())

        def read() -> None:
            with suppress(grpc.RpcError, Exception):  # it ends with the stream
                for item in map(pb.ScreenManyRequest.FromString, items):
                    if item.cancel:
                        self.cancelled.append(item.sequence)
                        withdrawn.add(item.sequence)
                    else:
                        threading.Thread(target=answer, args=[item], daemon=True).start()

        self.streams_opened += 1
        threading.Thread(target=read, daemon=True).start()
        yield from iter(answers.get, None)

    def _answer_stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answers the messages of a stream one after the other."""
        call = StreamCall(context, self._stopping, {key: str(value) for key, value in context.invocation_metadata()})
        self.guards.append(call)
        if not context.add_callback(call.over.set):  # the caller has gone already
            return
        with suppress(grpc.RpcError):  # the caller has gone
            for message in map(pb.ScreenStreamRequest.FromString, messages):
                call.messages.append(message)
                self.called.set()
                for answer in self.guard(call):
                    yield answer
                    if pb.ScreenStreamResponse.FromString(answer).HasField("verdict"):
                        return

    def _answer(self, method: str, payload: bytes, context: "grpc.ServicerContext | ItemContext") -> bytes:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        call = Call(method, payload, context, self._stopping, context.time_remaining(), context.peer(), metadata)
        self.calls.append(call)
        self.called.set()
        return self._script[min(len(self.calls), len(self._script)) - 1](call)


def many_response(sequence: int, payload: bytes) -> bytes:
    """A ScreenManyResponse whose batch is these bytes, whether they are one or not."""
    length, varint = len(payload), b""
    while length > 0x7F:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    return pb.ScreenManyResponse(sequence=sequence).SerializeToString() + b"\x22" + varint + bytes([length]) + payload


def judge(verdict_of: Callable[[pb.Exchange], pb.Verdict]) -> Behaviour:
    """Answers each exchange with its verdict."""

    def behave(call: Call) -> bytes:
        verdicts = [verdict_of(exchange) for exchange in call.exchanges]
        if call.method == "Screen":
            return pb.ScreenResponse(verdict=verdicts[0]).SerializeToString()
        if call.method == "Select":
            return selected(
                call, next((i for i, one in enumerate(verdicts) if one.decision == RELEASE), None), verdicts
            )
        return pb.ScreenBatchResponse(verdicts=verdicts).SerializeToString()

    return behave


def selected(call: Call, index: int | None, verdicts: Sequence[pb.Verdict]) -> bytes:
    """A SelectResponse that names this candidate."""
    request = call.request
    response = pb.SelectResponse(verdicts=verdicts, looks=len(request.candidates) * max(1, request.rounds))
    response.miss_rate_upper_bound, response.statement = 0.01 * response.looks, "as many looks"
    if index is not None:
        response.selected = index
    return response.SerializeToString()


def sha256(exchange: pb.Exchange) -> bytes:
    return hashlib.sha256(exchange.completion).digest()


def released(exchange: pb.Exchange) -> pb.Verdict:
    return pb.Verdict(decision=pb.DECISION_RELEASE, completion_sha256=sha256(exchange), verdict_id="v1")


def harmful(exchange: pb.Exchange) -> pb.Verdict:
    reasons = [pb.REASON_HARMFUL, pb.REASON_DISAGREEMENT]
    return pb.Verdict(
        decision=pb.DECISION_WITHHOLD,
        completion_sha256=sha256(exchange),
        reasons=reasons,
        action=pb.ACTION_ESCALATE,
    )


def unless_bad(exchange: pb.Exchange) -> pb.Verdict:
    return harmful(exchange) if b"bad" in exchange.completion else released(exchange)


def overloaded(exchange: pb.Exchange, retry_after_s: float = 0.0) -> pb.Verdict:
    verdict = pb.Verdict(
        decision=pb.DECISION_WITHHOLD,
        completion_sha256=sha256(exchange),
        reasons=[pb.REASON_OVERLOADED],
        retryable=True,
    )
    verdict.retry_after.FromNanoseconds(int(retry_after_s * 1e9))
    return verdict


def of_another_text(exchange: pb.Exchange) -> pb.Verdict:
    return released(pb.Exchange(completion=exchange.completion + b"!"))


def undecided(exchange: pb.Exchange) -> pb.Verdict:
    return pb.Verdict(completion_sha256=sha256(exchange))


def overloaded_if_long(exchange: pb.Exchange) -> pb.Verdict:
    return overloaded(exchange) if len(exchange.completion) > 5 else released(exchange)


def harmful_elsewhere(exchange: pb.Exchange) -> pb.Verdict:
    return harmful(pb.Exchange(completion=exchange.completion + b"!"))


release = judge(released)
withhold = judge(harmful)
overload = judge(overloaded)


def overload_for(retry_after_s: float) -> Behaviour:
    return judge(lambda exchange: overloaded(exchange, retry_after_s))


def empty(call: Call) -> bytes:
    """The default message: a response without a verdict, a batch without verdicts."""
    return b""


def one_too_few(call: Call) -> bytes:
    return pb.ScreenBatchResponse(verdicts=[released(one) for one in call.exchanges[1:]]).SerializeToString()


def one_too_many(call: Call) -> bytes:
    exchanges = [*call.exchanges, *call.exchanges]
    return pb.ScreenBatchResponse(verdicts=[released(one) for one in exchanges]).SerializeToString()


def swapped(call: Call) -> bytes:
    return pb.ScreenBatchResponse(verdicts=[released(one) for one in reversed(call.exchanges)]).SerializeToString()


def garbage(call: Call) -> bytes:
    return b"\xff\xff\xff not a message"


def hang(call: Call) -> bytes:
    """Waits for longer than any test; ends with the server, or soon after the caller has gone."""
    for _ in range(int(HANG_S_MAX / 0.05)):
        if call.stopping.wait(0.05) or not call.context.is_active():
            break
    return b""


def fail(status: grpc.StatusCode) -> Behaviour:
    def behave(call: Call) -> NoReturn:
        # What a careless server might do: its message quotes the text.
        call.context.abort(status, "cannot judge: " + repr(call.payload))

    return behave


def released_up_to(text: bytes, verdict: pb.Verdict | None = None) -> bytes:
    """A ScreenStreamResponse that releases this prefix."""
    digest = hashlib.sha256(text).digest()
    return pb.ScreenStreamResponse(
        released_bytes=len(text), released_sha256=digest, verdict=verdict
    ).SerializeToString()


def by_sentences(verdict_of: Callable[[pb.Exchange], pb.Verdict]) -> StreamBehaviour:
    """Releases sentence by sentence what is fine so far, and withholds at once what is not."""

    def behave(call: StreamCall) -> Iterator[bytes]:
        text = call.text
        whole = text if call.ended else text[: text.rfind(b". ") + 2] if b". " in text else b""
        verdict = verdict_of(pb.Exchange(completion=text))
        if verdict.decision != RELEASE:
            yield pb.ScreenStreamResponse(verdict=verdict).SerializeToString()
        elif call.ended:
            yield released_up_to(whole, verdict)
        elif whole:
            yield released_up_to(whole)

    return behave


def at_the_end(verdict_of: Callable[[pb.Exchange], pb.Verdict]) -> StreamBehaviour:
    """Says nothing before the end."""
    return lambda call: by_sentences(verdict_of)(call) if call.ended else iter(())


def after(word: bytes, behaviour: StreamBehaviour) -> StreamBehaviour:
    """By sentences, until that word has come."""
    return lambda call: behaviour(call) if word in call.text else by_sentences(released)(call)


def releasing_what_never_came(call: StreamCall) -> Iterator[bytes]:
    yield released_up_to(b"x" * 10_000_000)


def hanging(call: StreamCall) -> Iterator[bytes]:
    """Says nothing for longer than any test; ends with the server or the caller."""
    for _ in range(int(HANG_S_MAX / 0.05)):
        if call.stopping.wait(0.05) or call.over.is_set():
            break
    yield from ()


def failing(status: grpc.StatusCode) -> StreamBehaviour:
    """Ends the stream as a careless server might: its message quotes the text."""

    def behave(call: StreamCall) -> Iterator[bytes]:
        call.context.abort(status, "cannot judge: " + repr(call.text))
        yield from ()

    return behave


def report_kept(call: Call) -> bytes:
    return pb.ReportResponse().SerializeToString()
