"""A real gRPC server on port 0 that answers by script: one behaviour per call, the last one for all further calls.

It speaks bytes, so that it can also answer with what no server of ours would.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import grpc
from interlock.v1 import safety_filter_pb2 as pb

HANG_S_MAX = 20.0


@dataclass(frozen=True)
class Call:
    """A call as the server saw it."""

    method: str
    payload: bytes
    context: grpc.ServicerContext
    stopping: threading.Event
    time_left_s: float
    peer: str
    metadata: dict[str, str]

    @property
    def request(self) -> pb.ScreenRequest | pb.ScreenBatchRequest:
        kind = pb.ScreenRequest if self.method == "Screen" else pb.ScreenBatchRequest
        return kind.FromString(self.payload)

    @property
    def exchanges(self) -> Sequence[pb.Exchange]:
        request = self.request
        return [request.exchange] if isinstance(request, pb.ScreenRequest) else request.exchanges


Behaviour = Callable[[Call], bytes]


class FakeService(grpc.GenericRpcHandler):
    """Serves until `stop`; keeps the calls that it got."""

    def __init__(self, *script: Behaviour) -> None:
        self.calls: list[Call] = []
        self.called = threading.Event()
        self._script = script
        self._stopping = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), handlers=[self])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{self.port}"
        self._server.start()

    @property
    def completions(self) -> list[list[bytes]]:
        """The completions of each call."""
        return [[exchange.completion for exchange in call.exchanges] for call in self.calls]

    def stop(self) -> None:
        self._stopping.set()
        self._server.stop(grace=None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        service, _, method = handler_call_details.method.lstrip("/").rpartition("/")
        assert service == "interlock.v1.SafetyFilterService"
        return grpc.unary_unary_rpc_method_handler(lambda payload, context: self._answer(method, payload, context))

    def _answer(self, method: str, payload: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        call = Call(method, payload, context, self._stopping, context.time_remaining(), context.peer(), metadata)
        self.calls.append(call)
        self.called.set()
        return self._script[min(len(self.calls), len(self._script)) - 1](call)


def judge(verdict_of: Callable[[pb.Exchange], pb.Verdict]) -> Behaviour:
    """Answers each exchange with its verdict."""

    def behave(call: Call) -> bytes:
        verdicts = [verdict_of(exchange) for exchange in call.exchanges]
        if call.method == "Screen":
            return pb.ScreenResponse(verdict=verdicts[0]).SerializeToString()
        return pb.ScreenBatchResponse(verdicts=verdicts).SerializeToString()

    return behave


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
