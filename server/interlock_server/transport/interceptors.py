"""The `grpc_server_*` metrics that stock dashboards know; grpc.aio has none of its own. Unary RPCs only, as the contract has."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from interlock_server.metrics import Metrics

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class RpcMetrics(grpc.aio.ServerInterceptor):
    """Counts and times every unary RPC of the server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(self, continuation: _Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler of unary RPCs; others pass."""
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        service, _, method = details.method.lstrip("/").partition("/")
        return grpc.unary_unary_rpc_method_handler(
            self._timed(handler.unary_unary, ("unary", service, method)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _timed(self, inner: Callable[[Any, Any], Awaitable[Any]], labels: tuple[str, str, str]) -> Any:
        started = self._metrics.rpc_started.labels(*labels)
        seconds = self._metrics.rpc_seconds.labels(*labels)

        async def timed(request: Any, context: Context) -> Any:
            begun_s = time.monotonic()
            started.inc()
            code = "Unknown"
            try:
                response = await inner(request, context)
                code = "OK"
                return response
            except BaseException as error:
                code = _code(error, context)
                raise
            finally:
                self._metrics.rpc_handled.labels(*labels, code).inc()
                seconds.observe(time.monotonic() - begun_s)

        return timed


def _code(error: BaseException, context: Context) -> str:
    """The status as go-grpc-prometheus writes it, such as InvalidArgument."""
    code = context.code()
    if isinstance(error, grpc.aio.AbortError) and isinstance(code, grpc.StatusCode):
        return code.name.title().replace("_", "")
    return "Unknown" if isinstance(error, Exception) else "Cancelled"
