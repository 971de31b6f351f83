"""A span for every RPC, below the caller's. Only of our own service: health checks and reflection are not worth one."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from interlock_server.log import about
from interlock_server.trace_context import CURRENT, incoming
from interlock_server.tracing.tracer import SpanTracer

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
_MANY = "/ScreenMany"
"""It lasts for minutes and carries the requests of many: each of its items is a trace of its own."""


class RpcTraces(grpc.aio.ServerInterceptor):
    """Put it first, so that what others refuse is traced. Handlers are wrapped once, not for every call."""

    def __init__(self, tracer: SpanTracer, service: str) -> None:
        self._tracer = tracer
        self._service = f"/{service}/"
        self._wrapped: dict[str, Handler] = {}  # only methods that there are, so that no caller can make it grow

    async def intercept_service(self, continuation: _Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the coroutines of the service; whatever else there is passes."""
        method = details.method
        if not method.startswith(self._service) or method.endswith(_MANY):
            return await continuation(details)
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(details)
        if handler is not None:
            handler = self._wrapped[method] = self._wrap(handler, method)
        return handler

    def _wrap(self, handler: Handler, method: str) -> Handler:
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._traced(handler.unary_unary, method), **codecs)
        if inspect.iscoroutinefunction(handler.stream_stream):
            return grpc.stream_stream_rpc_method_handler(self._traced(handler.stream_stream, method), **codecs)
        return handler

    def _traced(self, inner: Callable[[Any, Any], Awaitable[Any]], method: str) -> Any:
        async def traced(request: Any, context: Context) -> Any:
            begun_s = time.monotonic()
            trace = self._tracer.begin(incoming(context.invocation_metadata() or ()))
            # Each call has a task of its own, and so has what it begins: nothing has to be put back.
            CURRENT.set(trace)
            about(trace_id=trace.trace_id)
            code = grpc.StatusCode.OK
            try:
                return await inner(request, context)
            except BaseException as error:
                code = _code(error, context)
                raise
            finally:
                self._tracer.ended(trace, method, begun_s, (code.value[0], code.name))

        return traced


def _code(error: BaseException, context: Context) -> grpc.StatusCode:
    code = context.code()
    if isinstance(error, grpc.aio.AbortError) and isinstance(code, grpc.StatusCode):
        return code
    return grpc.StatusCode.CANCELLED if isinstance(error, asyncio.CancelledError) else grpc.StatusCode.UNKNOWN
