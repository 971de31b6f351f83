"""The RPCs. A conservative verdict is a successful RPC; only a request that cannot be understood is an error."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import grpc
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc

from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter, Screening
from interlock_server.metrics import Metrics
from interlock_server.transport.admission import Admission
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.stream import Stream
from interlock_server.transport.translate import InvalidRequest, check_options, is_ambiguous, to_request, to_verdict

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]

_BATCH_CONCURRENCY = 8  # of one batch: enough to keep the lanes busy, too few to push other callers out
_AGE_SPREAD = (0.75, 1.0)  # streams that began together must not end together


class SafetyFilterService(pb_grpc.SafetyFilterServiceServicer):
    """Serves one filter and its description; says UNAVAILABLE until it has them."""

    def __init__(self, settings: TransportSettings, metrics: Metrics) -> None:
        self._filter: SafetyFilter | None = None
        self._ensemble = pb.GetEnsembleResponse()
        self._settings = settings
        self._granted = settings.detail_granted
        self._admission = Admission(settings.in_flight_max, metrics)
        self.idle = self._admission.idle

    def begin(self, safety_filter: SafetyFilter, ensemble: pb.GetEnsembleResponse) -> None:
        """From now on answers with this filter."""
        self._filter, self._ensemble = safety_filter, ensemble

    def drain(self) -> None:
        """From now on takes no streams; those that are open end when what they have read is answered."""
        self._admission.drain()

    async def Screen(self, request: pb.ScreenRequest, context: Context) -> pb.ScreenResponse:
        """One exchange, one verdict."""
        deadline_s = _deadline_s(context)
        safety_filter = self._filter or await _not_warm(context)
        try:
            check_options(request, safety_filter.policy)
            if is_ambiguous(request.exchange):
                raise InvalidRequest("exchange: has both a prompt and turns")
        except InvalidRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        call = _Call(safety_filter, "Screen", deadline_s, _caller(context))
        screening = await self._screen(call, request.exchange, request)
        _say_reason(context, screening)
        return pb.ScreenResponse(verdict=self._verdict(safety_filter, screening, request.detail))

    async def ScreenBatch(self, request: pb.ScreenBatchRequest, context: Context) -> pb.ScreenBatchResponse:
        """Many exchanges, a verdict each, in order; what is wrong with one of them withholds that one."""
        deadline_s = _deadline_s(context)
        safety_filter = self._filter or await _not_warm(context)
        try:
            return await self._screen_batch(_Call(safety_filter, "ScreenBatch", deadline_s, _caller(context)), request)
        except InvalidRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    # The generated base class knows generators only; grpc.aio also takes coroutines that read and write themselves.
    async def ScreenMany(  # type: ignore[override]
        self, requests: AsyncIterator[pb.ScreenManyRequest], context: Context
    ) -> None:
        """Many batches over one stream; it ends with UNAVAILABLE when the server goes away, so that callers go elsewhere."""
        safety_filter = self._filter or await _not_warm(context)
        caller = _caller(context)

        async def judge(batch: pb.ScreenBatchRequest, deadline_s: float) -> pb.ScreenBatchResponse:
            return await self._screen_batch(_Call(safety_filter, "ScreenMany", deadline_s, caller), batch)

        stream = Stream(context, judge, self._settings.stream_in_flight_max)
        with self._admission.open(stream):
            if not self._admission.draining:
                await stream.run(self._settings.stream_age_s * random.uniform(*_AGE_SPREAD))
            if self._admission.draining:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes away")

    async def GetEnsemble(self, request: pb.GetEnsembleRequest, context: Context) -> pb.GetEnsembleResponse:
        """What is in force."""
        return self._ensemble if self._filter else await _not_warm(context)

    async def _screen_batch(self, call: _Call, request: pb.ScreenBatchRequest) -> pb.ScreenBatchResponse:
        """A verdict for each exchange; raises InvalidRequest."""
        check_options(request, call.safety_filter.policy)
        exchanges = request.exchanges
        if len(exchanges) > self._settings.batch_size_max:
            raise InvalidRequest(f"exchanges: {len(exchanges)} are more than {self._settings.batch_size_max}")
        places = asyncio.Semaphore(_BATCH_CONCURRENCY)

        async def screen(exchange: pb.Exchange) -> pb.Verdict:
            async with places:
                screening = await self._screen(call, exchange, request)
                return self._verdict(call.safety_filter, screening, request.detail)

        if len(exchanges) == 1:  # a task of its own would cost as much as the rest of the edge
            return pb.ScreenBatchResponse(verdicts=[await screen(exchanges[0])])
        return pb.ScreenBatchResponse(verdicts=await asyncio.gather(*map(screen, exchanges)))

    async def _screen(
        self, call: _Call, exchange: pb.Exchange, asked: pb.ScreenRequest | pb.ScreenBatchRequest
    ) -> Screening:
        refused = None if self._admission.enter() else Reason.OVERLOADED
        try:
            request = to_request(exchange, asked, call.deadline_s, call.caller, refused)
            return await call.safety_filter.screen(request, call.rpc)
        finally:
            self._admission.leave()

    def _verdict(self, safety_filter: SafetyFilter, screening: Screening, detail: int) -> pb.Verdict:
        return to_verdict(screening, detail, self._granted, safety_filter.policy.shadow, self._ensemble.digests)


class _Call(NamedTuple):
    """What all exchanges of one call share."""

    safety_filter: SafetyFilter
    rpc: str
    deadline_s: float
    caller: str


def _caller(context: Context) -> str:
    """Who asks: the address without its port, for as long as callers have no names."""
    return str(context.peer()).rpartition(":")[0]


async def _not_warm(context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the members are not warm yet")


def _deadline_s(context: Context) -> float:
    """The caller's deadline on the monotonic clock; infinite when there is none."""
    remaining = context.time_remaining()
    return float("inf") if remaining is None else time.monotonic() + remaining


def _say_reason(context: Context, screening: Screening) -> None:
    """The first reason and the request's id as trailing metadata, so that meshes see overload without reading verdicts."""
    said = [(key, value) for key, value in context.invocation_metadata() or () if key == "x-request-id"][:1]
    reasons = screening.verdict.reasons
    if reasons:
        said.append(("interlock-reason", reasons[0].value))
    if said:
        context.set_trailing_metadata(tuple(said))
