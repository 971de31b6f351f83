"""The `grpc_server_*` metrics that stock dashboards know; grpc.aio has none of its own. For unary RPCs and our stream."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from interlock_server.log import log_failure
from interlock_server.metrics import Metrics

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class RpcMetrics(grpc.aio.ServerInterceptor):
    """Counts and times the RPCs of the server. Handlers are wrapped once, not for every call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrapped: dict[str, Handler] = {}  # only methods that there are, so that no caller can make it grow

    async def intercept_service(self, continuation: _Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handlers that are coroutines; others, such as health watches, pass."""
        wrapped = self._wrapped.get(details.method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(details)
        if handler is not None:
            handler = self._wrapped[details.method] = self._wrap(handler, details.method)
        return handler

    def _wrap(self, handler: Handler, path: str) -> Handler:
        service, _, method = path.lstrip("/").partition("/")
        codecs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            timed = self._timed(handler.unary_unary, ("unary", service, method))
            return grpc.unary_unary_rpc_method_handler(timed, **codecs)
        if inspect.iscoroutinefunction(handler.stream_stream):
            timed = self._timed(handler.stream_stream, ("bidi_stream", service, method))
            return grpc.stream_stream_rpc_method_handler(timed, **codecs)
        return handler

    def _timed(self, inner: Callable[[Any, Any], Awaitable[Any]], labels: tuple[str, str, str]) -> Any:
        started = self._metrics.rpc_started.labels(*labels)
        seconds = self._metrics.rpc_seconds.labels(*labels)
        handled_ok = self._metrics.rpc_handled.labels(*labels, "OK")

        async def timed(request: Any, context: Context) -> Any:
            begun_s = time.monotonic()
            started.inc()
            handled = handled_ok
            try:
                return await inner(request, context)
            except BaseException as error:
                handled = self._metrics.rpc_handled.labels(*labels, _code(error, context))
                if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                    log_failure("rpc", error)  # gRPC would tell the caller the exception's message, whatever is in it
                    await context.abort(grpc.StatusCode.INTERNAL, "internal error")
                raise
            finally:
                handled.inc()
                seconds.observe(time.monotonic() - begun_s)

        return timed


def _code(error: BaseException, context: Context) -> str:
    """The status as go-grpc-prometheus writes it, such as InvalidArgument."""
    code = context.code()
    if isinstance(error, grpc.aio.AbortError) and isinstance(code, grpc.StatusCode):
        return code.name.title().replace("_", "")
    return "Internal" if isinstance(error, Exception) else "Cancelled"
