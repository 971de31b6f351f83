"""The RPCs. A conservative verdict is a successful RPC; only a request that cannot be understood is an error."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc

from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.screening import Screening
from interlock_server.streaming import RPC as STREAM_RPC
from interlock_server.streaming import GrowingCompletion
from interlock_server.transport.admission import Admission
from interlock_server.transport.growing import read_start, serve_growing
from interlock_server.transport.replies import to_feedback, to_selection
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.stream import Stream
from interlock_server.transport.translate import (
    Asked,
    Call,
    InvalidRequest,
    check_options,
    is_ambiguous,
    to_certificate,
    to_request,
    to_verdict,
)

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]

_GOING = "the server goes away"
_REPORT_S = 5.0
_REQUEST_ID_SIZE_MAX = 128
_BATCH_CONCURRENCY = 8  # of one batch: enough to keep the lanes busy, too few to push other callers out
_AGE_SPREAD = (0.75, 1.0)  # streams that began together must not end together


class SafetyFilterService(pb_grpc.SafetyFilterServiceServicer):
    """Serves one filter and its description; says UNAVAILABLE until it has them."""

    def __init__(self, settings: TransportSettings, metrics: Metrics) -> None:
        self._filter: SafetyFilter | None = None
        self._ensemble = pb.GetEnsembleResponse()
        self._settings = settings
        self._granted = settings.detail_granted
        self._metrics = metrics
        self._admission = Admission(settings.in_flight_max, settings.growing_max, metrics)
        self.idle = self._admission.idle

    def begin(self, safety_filter: SafetyFilter, ensemble: pb.GetEnsembleResponse) -> None:
        """From now on answers with this filter."""
        self._filter, self._ensemble = safety_filter, ensemble

    def drain(self) -> None:
        """From now on takes no streams; those that are open end when what they have read is answered."""
        self._admission.drain()

    async def Screen(self, request: pb.ScreenRequest, context: Context) -> pb.ScreenResponse:
        """One exchange, one verdict."""
        call = _call("Screen", context)
        safety_filter = self._filter or await _not_warm(context)
        try:
            check_options(request, safety_filter.policy)
            if is_ambiguous(request.exchange):
                raise InvalidRequest("exchange: has both a prompt and turns")
        except InvalidRequest as error:
            await _refuse(context, error)
        screening = await self._screen(safety_filter, call, request.exchange, request)
        _say_reason(context, screening, call)
        return pb.ScreenResponse(verdict=self._verdict(safety_filter, screening, request.detail))

    async def ScreenBatch(self, request: pb.ScreenBatchRequest, context: Context) -> pb.ScreenBatchResponse:
        """Many exchanges, a verdict each, in order; what is wrong with one of them withholds that one."""
        call = _call("ScreenBatch", context)
        safety_filter = self._filter or await _not_warm(context)
        try:
            return await self._screen_batch(safety_filter, call, request)
        except InvalidRequest as error:
            await _refuse(context, error)

    async def Select(self, request: pb.SelectRequest, context: Context) -> pb.SelectResponse:
        """The candidate that may be released with the largest margin, or none."""
        call = _call("Select", context)
        safety_filter = self._filter or await _not_warm(context)
        try:
            check_options(request, safety_filter.policy)
            if request.prompt and request.turns:
                raise InvalidRequest("prompt: there are turns too")
            self._check_size("candidates", len(request.candidates))
        except InvalidRequest as error:
            await _refuse(context, error)
        asked = pb.Exchange(prompt=request.prompt, turns=request.turns)
        exchanges = [pb.Exchange(prompt=asked.prompt, turns=asked.turns, completion=c) for c in request.candidates]
        screenings = await self._screen_all(safety_filter, call, exchanges, request)
        verdicts = [self._verdict(safety_filter, screening, request.detail) for screening in screenings]
        certificate = to_certificate(safety_filter.certification, request.profile)
        return to_selection(request, screenings, verdicts, certificate, self._ensemble.categories)

    # The generated base class knows generators only; grpc.aio also takes coroutines that read and write themselves.
    async def ScreenMany(  # type: ignore[override]
        self, requests: AsyncIterator[pb.ScreenManyRequest], context: Context
    ) -> None:
        """Many batches over one stream; it ends with UNAVAILABLE when the server goes away, so that callers go elsewhere."""
        safety_filter = self._filter or await _not_warm(context)
        call = _call("ScreenMany", context)

        async def judge(batch: pb.ScreenBatchRequest, deadline_s: float) -> pb.ScreenBatchResponse:
            return await self._screen_batch(safety_filter, replace(call, deadline_s=deadline_s), batch)

        stream = Stream(context, judge, self._settings.stream_in_flight_max)
        with self._admission.open(stream):
            if not self._admission.draining:
                await stream.run(self._settings.stream_age_s * random.uniform(*_AGE_SPREAD))
            if self._admission.draining:
                await context.abort(grpc.StatusCode.UNAVAILABLE, _GOING)

    async def ScreenStream(  # type: ignore[override]
        self, requests: AsyncIterator[pb.ScreenStreamRequest], context: Context
    ) -> None:
        """A completion that is being written."""
        safety_filter = self._filter or await _not_warm(context)
        if self._admission.draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _GOING)
        call = _call(STREAM_RPC, context)
        call = replace(call, deadline_s=min(call.deadline_s, time.monotonic() + self._settings.growing_s))
        try:
            async with asyncio.timeout(self._settings.growing_idle_s):
                start = await read_start(context)
            check_options(start, safety_filter.policy)
            refused = None if self._admission.may_grow() else Reason.OVERLOADED
            asked = to_request(pb.Exchange(prompt=start.prompt, turns=start.turns), start, call, refused)
            completion = GrowingCompletion(safety_filter, asked, self._settings.growing_idle_s, self._metrics)
            with self._admission.growing(completion):
                translate = partial(self._verdict, safety_filter, asked=start.detail)
                await serve_growing(context, completion, call.deadline_s, translate)
        except InvalidRequest as error:
            await _refuse(context, error)
        except TimeoutError:
            await _refuse(context, InvalidRequest("start: did not come"))

    async def Report(self, request: pb.ReportRequest, context: Context) -> pb.ReportResponse:
        """Feedback, into the audit log."""
        call = _call("Report", context)
        safety_filter = self._filter or await _not_warm(context)
        recorder = safety_filter.recorder
        if recorder is None or not recorder.recording:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no audit log is kept")
        try:
            feedback = to_feedback(request, self._ensemble.categories, call)
        except InvalidRequest as error:
            await _refuse(context, error)
        kept = await recorder.report(feedback, min(call.deadline_s, time.monotonic() + _REPORT_S))
        if not kept:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the audit log cannot be written now")
        return pb.ReportResponse()

    async def GetEnsemble(self, request: pb.GetEnsembleRequest, context: Context) -> pb.GetEnsembleResponse:
        """What is in force."""
        safety_filter = self._filter or await _not_warm(context)
        now = pb.GetEnsembleResponse(certificate=to_certificate(safety_filter.certification))
        now.MergeFrom(self._ensemble)
        return now

    async def _screen_batch(
        self, safety_filter: SafetyFilter, call: Call, request: pb.ScreenBatchRequest
    ) -> pb.ScreenBatchResponse:
        """A verdict for each exchange; raises InvalidRequest."""
        check_options(request, safety_filter.policy)
        self._check_size("exchanges", len(request.exchanges))
        screenings = await self._screen_all(safety_filter, call, request.exchanges, request)
        verdicts = [self._verdict(safety_filter, screening, request.detail) for screening in screenings]
        return pb.ScreenBatchResponse(verdicts=verdicts)

    def _check_size(self, field: str, size: int) -> None:
        if size > self._settings.batch_size_max:
            raise InvalidRequest(f"{field}: {size} are more than {self._settings.batch_size_max}")

    async def _screen_all(
        self, safety_filter: SafetyFilter, call: Call, exchanges: Sequence[pb.Exchange], asked: Asked
    ) -> list[Screening]:
        """Side by side, in order."""
        if len(exchanges) == 1:  # a task of its own would cost as much as the rest of the edge
            return [await self._screen(safety_filter, call, exchanges[0], asked)]
        places = asyncio.Semaphore(_BATCH_CONCURRENCY)

        async def screen(exchange: pb.Exchange) -> Screening:
            async with places:
                return await self._screen(safety_filter, call, exchange, asked)

        return await asyncio.gather(*map(screen, exchanges))

    async def _screen(self, safety_filter: SafetyFilter, call: Call, exchange: pb.Exchange, asked: Asked) -> Screening:
        refused = None if self._admission.enter() else Reason.OVERLOADED
        try:
            return await safety_filter.screen(to_request(exchange, asked, call, refused), call.rpc)
        finally:
            self._admission.leave()

    def _verdict(self, safety_filter: SafetyFilter, screening: Screening, asked: int) -> pb.Verdict:
        return to_verdict(screening, asked, self._granted, safety_filter.policy.shadow, self._ensemble.digests)


def _call(rpc: str, context: Context) -> Call:
    """What is known of a call: who asks is the address without its port, for as long as callers have no names."""
    remaining = context.time_remaining()
    deadline_s = float("inf") if remaining is None else time.monotonic() + remaining
    said = [str(value) for key, value in context.invocation_metadata() or () if key == "x-request-id"]
    caller = str(context.peer()).rpartition(":")[0]
    return Call(rpc, deadline_s, caller, said[0][:_REQUEST_ID_SIZE_MAX] if said else "")


async def _refuse(context: Context, error: InvalidRequest) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


async def _not_warm(context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the members are not warm yet")


def _say_reason(context: Context, screening: Screening, call: Call) -> None:
    """The first reason and the request's id as trailing metadata, so that meshes see overload without reading verdicts."""
    said = [("x-request-id", call.request_id)] if call.request_id else []
    reasons = screening.verdict.reasons
    if reasons:
        said.append(("interlock-reason", reasons[0].value))
    if said:
        context.set_trailing_metadata(tuple(said))
