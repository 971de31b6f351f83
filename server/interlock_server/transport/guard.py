"""Before every RPC: who calls, and may it? Whatever is not in the table of scopes is for administrators."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.access.access import Access
from interlock_server.access.callers import CALLER, Scope
from interlock_server.access.tokens import bearer
from interlock_server.log import log_event

if TYPE_CHECKING:  # generic only in its type stubs
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
Parse = Callable[[bytes], Any]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

_SERVICE = pb.DESCRIPTOR.services_by_name["SafetyFilterService"].full_name
ADMIN: Scope = "admin"
SCOPES: Mapping[str, Scope | None] = {
    f"/{_SERVICE}/Screen": "screen",
    f"/{_SERVICE}/ScreenBatch": "screen",
    f"/{_SERVICE}/ScreenMany": "screen",
    f"/{_SERVICE}/ScreenStream": "screen",
    f"/{_SERVICE}/Select": "screen",
    f"/{_SERVICE}/Report": "report",
    f"/{_SERVICE}/GetEnsemble": None,  # every caller that is known
}
OPEN = "/grpc.health.v1.Health/"  # probes carry no token
REFLECTION = "/grpc.reflection."
_UNKNOWN = "a bearer token or a certificate of a configured caller is needed"


class AccessGuard(grpc.aio.ServerInterceptor):
    """Lets only those through who may, and says to the RPC who it is. Handlers are wrapped once, not for every call."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._guarded: dict[str, Handler] = {}  # only methods that there are, so that no caller can make it grow

    async def intercept_service(self, continuation: _Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps every handler but those of health checks."""
        guarded = self._guarded.get(details.method)
        if guarded is None:
            guarded = await continuation(details)
            if guarded is not None:
                if not details.method.startswith(OPEN):
                    guarded = self._guard(guarded, details.method)
                self._guarded[details.method] = guarded
        return guarded

    def _guard(self, handler: Handler, path: str) -> Handler:
        kind = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
        inner, parse = getattr(handler, kind), handler.request_deserializer or bytes
        if handler.request_streaming:
            guarded, early = self._streaming(inner, path), partial(_parse_or_empty, parse)
        else:
            guarded, early = self._answering(inner, parse, path), None  # nothing of a stranger's message is parsed
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        made: Handler = make(guarded, request_deserializer=early, response_serializer=handler.response_serializer)
        return made

    def _answering(self, inner: Callable[[Any, Context], Awaitable[Any]], parse: Parse, path: str) -> Any:
        async def guarded(message: bytes, context: Context) -> Any:
            await self._admit(path, context)
            try:
                request = parse(message)
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be parsed")
            return await inner(request, context)

        return guarded

    def _streaming(self, inner: Callable[[Any, Context], Any], path: str) -> Any:
        async def guarded(requests: Any, context: Context) -> Any:
            await self._admit(path, context)
            return await inner(requests, context)

        async def generating(requests: Any, context: Context) -> AsyncIterator[Any]:
            await self._admit(path, context)
            async for response in inner(requests, context):
                yield response

        return generating if inspect.isasyncgenfunction(inner) else guarded

    async def _admit(self, path: str, context: Context) -> None:
        caller = self._access.identify(_token(context), _subjects(context)) if self._access.on else self._access.anyone
        if caller is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _UNKNOWN)
        scope = SCOPES.get(path, None if path.startswith(REFLECTION) else ADMIN)
        if scope is not None and scope not in caller.scopes:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"the scope {scope} is needed")
        if scope == ADMIN:
            log_event("admin_call", rpc=path, caller=caller.name or str(context.peer()))
        CALLER.set(caller)


def _parse_or_empty(parse: Parse, message: bytes) -> Any:
    """Of a stream, gRPC parses what comes. An empty message is a mistake in each of ours, and is answered as one."""
    try:
        return parse(message)
    except DecodeError:
        return parse(b"")


_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def _token(context: Context) -> str | None:
    """The token that a call brings. Two headers, or one that is no bearer token, are a wrong token, not none."""
    said = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if not said:
        return None
    return (bearer(str(said[0])) or "") if len(said) == 1 else ""


def _subjects(context: Context) -> list[str]:
    """The names in the certificate that the caller has shown, which gRPC has verified."""
    shown: Mapping[str, Any] = context.auth_context()
    names = shown.get("x509_subject_alternative_name") or shown.get("x509_common_name") or ()
    return [name.decode("utf-8", "replace") for name in names]
