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

from interlock_server.access.callers import CALLER, Caller, DetailName
from interlock_server.access.quotas import Refusal
from interlock_server.decision.verdict import Reason
from interlock_server.metrics import Metrics
from interlock_server.screening import Screening
from interlock_server.streaming import RPC as STREAM_RPC
from interlock_server.streaming import GrowingCompletion
from interlock_server.transport.admission import Admission
from interlock_server.transport.growing import read_start, serve_growing
from interlock_server.transport.replies import to_feedback, to_selection
from interlock_server.transport.serving import Serving
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.stream import Stream
from interlock_server.transport.translate import (
    DETAILS,
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
        self._serving: Serving | None = None
        self._settings = settings
        self._granted = settings.detail_granted
        self._metrics = metrics
        self._admission = Admission(settings.in_flight_max, settings.growing_max, metrics)
        self.idle = self._admission.idle

    def begin(self, serving: Serving) -> None:
        """From now on answers new calls with this."""
        self._serving = serving

    def drain(self) -> None:
        """From now on takes no streams; those that are open end when what they have read is answered."""
        self._admission.drain()

    async def Screen(self, request: pb.ScreenRequest, context: Context) -> pb.ScreenResponse:
        """One exchange, one verdict."""
        call = _call("Screen", context)
        serving = await self._hold(context)
        try:
            check_options(request, serving.filter.policy, call.who)
            if is_ambiguous(request.exchange):
                raise InvalidRequest("exchange: has both a prompt and turns")
        except InvalidRequest as error:
            await _refuse(context, error)
        screening = await self._screen(serving, call, request.exchange, request)
        _say_reason(context, screening, call)
        return pb.ScreenResponse(verdict=self._verdict(serving, call, screening, request.detail))

    async def ScreenBatch(self, request: pb.ScreenBatchRequest, context: Context) -> pb.ScreenBatchResponse:
        """Many exchanges, a verdict each, in order; what is wrong with one of them withholds that one."""
        call = _call("ScreenBatch", context)
        serving = await self._hold(context)
        try:
            return await self._screen_batch(serving, call, request)
        except InvalidRequest as error:
            await _refuse(context, error)

    async def Select(self, request: pb.SelectRequest, context: Context) -> pb.SelectResponse:
        """The candidate that may be released with the largest margin, or none."""
        call = _call("Select", context)
        serving = await self._hold(context)
        try:
            check_options(request, serving.filter.policy, call.who)
            if request.prompt and request.turns:
                raise InvalidRequest("prompt: there are turns too")
            self._check_size("candidates", len(request.candidates))
        except InvalidRequest as error:
            await _refuse(context, error)
        asked = pb.Exchange(prompt=request.prompt, turns=request.turns)
        exchanges = [pb.Exchange(prompt=asked.prompt, turns=asked.turns, completion=c) for c in request.candidates]
        screenings = await self._screen_all(serving, call, exchanges, request)
        verdicts = [self._verdict(serving, call, screening, request.detail) for screening in screenings]
        certificate = to_certificate(serving.filter.certification, call.who.profile(request.profile))
        return to_selection(request, screenings, verdicts, certificate, serving.ensemble.categories)

    # The generated base class knows generators only; grpc.aio also takes coroutines that read and write themselves.
    async def ScreenMany(  # type: ignore[override]
        self, requests: AsyncIterator[pb.ScreenManyRequest], context: Context
    ) -> None:
        """Many batches over one stream; it ends with UNAVAILABLE when the server goes away, so that callers go elsewhere."""
        serving = await self._hold(context)
        call = _call("ScreenMany", context)

        async def judge(batch: pb.ScreenBatchRequest, deadline_s: float) -> pb.ScreenBatchResponse:
            return await self._screen_batch(serving, replace(call, deadline_s=deadline_s, refusal=refusal), batch)

        stream = Stream(context, judge, self._settings.stream_in_flight_max)
        with self._admission.open(stream), call.who.allowance.stream() as refusal:
            if not self._admission.draining:
                await stream.run(self._settings.stream_age_s * random.uniform(*_AGE_SPREAD))
            if self._admission.draining:
                await context.abort(grpc.StatusCode.UNAVAILABLE, _GOING)

    async def ScreenStream(  # type: ignore[override]
        self, requests: AsyncIterator[pb.ScreenStreamRequest], context: Context
    ) -> None:
        """A completion that is being written."""
        serving = await self._hold(context)
        if self._admission.draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _GOING)
        call = _call(STREAM_RPC, context)
        call = replace(call, deadline_s=min(call.deadline_s, time.monotonic() + self._settings.growing_s))
        try:
            async with asyncio.timeout(self._settings.growing_idle_s):
                start = await read_start(context)
            check_options(start, serving.filter.policy, call.who)
            with call.who.allowance.stream() as one_too_many:
                refusal = self._refusal(replace(call, refusal=one_too_many), start.ByteSize())
                refused = None if self._admission.may_grow() and refusal is None else Reason.OVERLOADED
                asked = to_request(pb.Exchange(prompt=start.prompt, turns=start.turns), start, call, refused)
                completion = GrowingCompletion(serving.filter, asked, self._settings.growing_idle_s, self._metrics)
                with self._admission.growing(completion):
                    verdict = partial(self._verdict, serving, replace(call, refusal=refusal), asked=start.detail)
                    await serve_growing(context, completion, call, verdict)
        except InvalidRequest as error:
            await _refuse(context, error)
        except TimeoutError:
            await _refuse(context, InvalidRequest("start: did not come"))

    async def Report(self, request: pb.ReportRequest, context: Context) -> pb.ReportResponse:
        """Feedback, into the audit log."""
        call = _call("Report", context)
        serving = await self._hold(context)
        recorder = serving.filter.recorder
        if recorder is None or not recorder.recording:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no audit log is kept")
        try:
            feedback = to_feedback(request, serving.ensemble.categories, call)
        except InvalidRequest as error:
            await _refuse(context, error)
        kept = await recorder.report(feedback, min(call.deadline_s, time.monotonic() + _REPORT_S))
        if not kept:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the audit log cannot be written now")
        return pb.ReportResponse()

    async def GetEnsemble(self, request: pb.GetEnsembleRequest, context: Context) -> pb.GetEnsembleResponse:
        """What is in force."""
        serving = await self._hold(context)
        now = pb.GetEnsembleResponse(certificate=to_certificate(serving.filter.certification))
        now.MergeFrom(serving.ensemble)
        return now

    async def _hold(self, context: Context) -> Serving:
        """What is in force now, for the whole of this call."""
        return (self._serving or await _not_warm(context)).hold()

    async def _screen_batch(
        self, serving: Serving, call: Call, request: pb.ScreenBatchRequest
    ) -> pb.ScreenBatchResponse:
        """A verdict for each exchange; raises InvalidRequest."""
        check_options(request, serving.filter.policy, call.who)
        self._check_size("exchanges", len(request.exchanges))
        screenings = await self._screen_all(serving, call, request.exchanges, request)
        verdicts = [self._verdict(serving, call, screening, request.detail) for screening in screenings]
        return pb.ScreenBatchResponse(verdicts=verdicts)

    def _check_size(self, field: str, size: int) -> None:
        if size > self._settings.batch_size_max:
            raise InvalidRequest(f"{field}: {size} are more than {self._settings.batch_size_max}")

    async def _screen_all(
        self, serving: Serving, call: Call, exchanges: Sequence[pb.Exchange], asked: Asked
    ) -> list[Screening]:
        """Side by side, in order."""
        if len(exchanges) == 1:  # a task of its own would cost as much as the rest of the edge
            return [await self._screen(serving, call, exchanges[0], asked)]
        places = asyncio.Semaphore(_BATCH_CONCURRENCY)

        async def screen(exchange: pb.Exchange) -> Screening:
            async with places:
                return await self._screen(serving, call, exchange, asked)

        return await asyncio.gather(*map(screen, exchanges))

    async def _screen(self, serving: Serving, call: Call, exchange: pb.Exchange, asked: Asked) -> Screening:
        has_place = self._admission.enter()
        try:
            refusal = self._refusal(call, exchange.ByteSize())
            refused = None if has_place and refusal is None else Reason.OVERLOADED
            screening = await serving.filter.screen(to_request(exchange, asked, call, refused), call.rpc)
            return screening if refusal is None else _later(screening, refusal)
        finally:
            self._admission.leave()

    def _refusal(self, call: Call, size_bytes: int) -> Refusal | None:
        """Why the caller's quota has no room for an exchange, which is counted either way."""
        refusal = call.refusal or call.who.allowance.take(size_bytes, time.monotonic())
        if refusal is not None:
            self._metrics.admission_refused.labels(refusal.why).inc()
        return refusal

    def _verdict(self, serving: Serving, call: Call, screening: Screening, asked: int) -> pb.Verdict:
        if call.refusal is not None:
            screening = _later(screening, call.refusal)
        verdict = to_verdict(screening, asked, self._granted_to(call.who), serving.filter.policy.shadow)
        if not screening.verdict.released:
            verdict.fallback_text = call.who.fallback_text(call.languages)
        return verdict

    def _granted_to(self, who: Caller) -> DetailName:
        if who.detail_max is None:
            return self._granted
        return min(who.detail_max, self._settings.detail_max or "full", key=DETAILS.__getitem__)


def _call(rpc: str, context: Context) -> Call:
    """What is known of a call. Who asks is who the guard says, or the address without its port where nobody has a name."""
    remaining = context.time_remaining()
    deadline_s = float("inf") if remaining is None else time.monotonic() + remaining
    said = {key: str(value) for key, value in [*(context.invocation_metadata() or ())][::-1]}  # of several, the first
    who = CALLER.get()
    return Call(
        rpc,
        deadline_s,
        caller=who.name or str(context.peer()).rpartition(":")[0],
        request_id=said.get("x-request-id", "")[:_REQUEST_ID_SIZE_MAX],
        who=who,
        languages=said.get("accept-language", ""),
    )


def _later(screening: Screening, refusal: Refusal) -> Screening:
    """With the time at which the quota has room again."""
    return replace(screening, verdict=replace(screening.verdict, retry_after_ms=refusal.retry_after_ms))


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
