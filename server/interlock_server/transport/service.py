"""The RPCs. A conservative verdict is a successful RPC; only a request that cannot be understood is an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc

from interlock_server.decision.verdict import Reason
from interlock_server.filter import Request, SafetyFilter, Screening
from interlock_server.metrics import Metrics
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.translate import InvalidRequest, check_options, is_ambiguous, to_request, to_verdict

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]

_BATCH_CONCURRENCY = 8  # of one batch: enough to keep the lanes busy, too few to push other callers out


class SafetyFilterService(pb_grpc.SafetyFilterServiceServicer):
    """Serves one filter and its description; says UNAVAILABLE until it has them. `idle` is set while nothing is screened."""

    def __init__(self, settings: TransportSettings, metrics: Metrics) -> None:
        self._filter: SafetyFilter | None = None
        self._ensemble = pb.GetEnsembleResponse()
        self._settings = settings
        self._metrics = metrics
        self._in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def begin(self, safety_filter: SafetyFilter, ensemble: pb.GetEnsembleResponse) -> None:
        """From now on answers with this filter."""
        self._filter, self._ensemble = safety_filter, ensemble

    async def Screen(self, request: pb.ScreenRequest, context: Context) -> pb.ScreenResponse:
        """One exchange, one verdict."""
        deadline_s = _deadline_s(context)
        safety_filter = await self._serving(context, request)
        if is_ambiguous(request.exchange):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "exchange: has both a prompt and turns")
        screening = await self._screen(safety_filter, to_request(request.exchange, request, deadline_s), "Screen")
        _say_reason(context, screening)
        return pb.ScreenResponse(verdict=self._verdict(safety_filter, screening, request.detail))

    async def ScreenBatch(self, request: pb.ScreenBatchRequest, context: Context) -> pb.ScreenBatchResponse:
        """Many exchanges, a verdict each, in order; what is wrong with one of them withholds that one."""
        deadline_s = _deadline_s(context)
        safety_filter = await self._serving(context, request)
        if len(request.exchanges) > self._settings.batch_size_max:
            message = f"exchanges: {len(request.exchanges)} are more than {self._settings.batch_size_max}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        places = asyncio.Semaphore(_BATCH_CONCURRENCY)

        async def screen(exchange: pb.Exchange) -> Screening:
            async with places:
                return await self._screen(safety_filter, to_request(exchange, request, deadline_s), "ScreenBatch")

        screenings = await asyncio.gather(*map(screen, request.exchanges))
        return pb.ScreenBatchResponse(verdicts=[self._verdict(safety_filter, s, request.detail) for s in screenings])

    async def GetEnsemble(self, request: pb.GetEnsembleRequest, context: Context) -> pb.GetEnsembleResponse:
        """What is in force."""
        await self._serving(context)
        return self._ensemble

    async def _serving(
        self, context: Context, request: pb.ScreenRequest | pb.ScreenBatchRequest | None = None
    ) -> SafetyFilter:
        """The filter in force, if there is one and it can do what is asked; else ends the RPC."""
        if self._filter is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the members are not warm yet")
        try:
            if request is not None:
                check_options(request, self._filter.policy)
        except InvalidRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return self._filter

    async def _screen(self, safety_filter: SafetyFilter, request: Request, rpc: str) -> Screening:
        with self._counted() as admitted:
            if not admitted:
                self._metrics.admission_refused.labels("in_flight").inc()
                request = replace(request, refused=Reason.OVERLOADED)
            return await safety_filter.screen(request, rpc)

    def _verdict(self, safety_filter: SafetyFilter, screening: Screening, detail: int) -> pb.Verdict:
        granted, shadow = self._settings.detail_granted, safety_filter.policy.shadow
        return to_verdict(screening, detail, granted, shadow, self._ensemble.digests)

    @contextmanager
    def _counted(self) -> Iterator[bool]:
        """Counts a request in flight; yields whether there was room for it."""
        self._in_flight += 1
        self.idle.clear()
        self._metrics.in_flight.set(self._in_flight)
        try:
            yield self._in_flight <= self._settings.in_flight_max
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.idle.set()
            self._metrics.in_flight.set(self._in_flight)


def _deadline_s(context: Context) -> float:
    """The caller's deadline on the monotonic clock; infinite when there is none."""
    remaining = context.time_remaining()
    return float("inf") if remaining is None else time.monotonic() + remaining


def _say_reason(context: Context, screening: Screening) -> None:
    """The first reason and the request's id as trailing metadata, so that meshes see overload without reading verdicts."""
    request_ids = [(key, value) for key, value in context.invocation_metadata() or () if key == "x-request-id"]
    reasons = screening.verdict.reasons
    context.set_trailing_metadata((*request_ids[:1], *([("interlock-reason", reasons[0].value)] if reasons else [])))
