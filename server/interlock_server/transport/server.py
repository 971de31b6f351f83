"""The gRPC server: options, TLS, health, reflection, start and drain."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc

from interlock_server.access.access import Access
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.tracing.tracer import SpanTracer
from interlock_server.transport.guard import AccessGuard
from interlock_server.transport.interceptors import RpcMetrics
from interlock_server.transport.service import SafetyFilterService
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.tls import Tls
from interlock_server.transport.traces import RpcTraces

_LAST_REPLY_S = 0.2  # a verdict that is ready still has to be sent
SERVICE = pb.DESCRIPTOR.services_by_name["SafetyFilterService"].full_name


KEEPALIVE = (
    # Finds callers that died silently, whose streams would hold their places for ever.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC hangs up on callers that ping an idle stream more often than every five minutes; ours do every 30 seconds.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_HEARD_S = 0.1  # NOT_SERVING reaches those who watch, so that they go elsewhere before their connections are closed


class GrpcServer:
    """Binds its port on construction; its health is NOT_SERVING until `say_serving`, and again while it drains.

    While it runs, it looks after the files of callers and certificates.
    """

    def __init__(
        self,
        settings: TransportSettings,
        service: SafetyFilterService,
        metrics: Metrics,
        access: Access,
        tls: Tls | None = None,
        tracer: SpanTracer | None = None,
    ) -> None:
        traces = [RpcTraces(tracer, SERVICE)] if tracer else []
        self._server = grpc.aio.server(
            interceptors=[RpcMetrics(metrics), AccessGuard(access), *traces],
            options=options(settings),
            maximum_concurrent_rpcs=settings.rpcs_max,
        )
        self._health = health.aio.HealthServicer()
        self._settings = settings
        self._service = service
        self._draining = False
        pb_grpc.add_SafetyFilterServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflected:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self.port = bind(self._server, settings.address, tls, "transport.address")
        self._watched = [each.watched for each in (access, tls) if each is not None and each.watched is not None]
        self._watching: list[asyncio.Task[None]] = []
        self._serving: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Begins to accept connections."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        before = asyncio.all_tasks()
        await self._server.start()
        self._serving = asyncio.all_tasks() - before  # what takes calls; gRPC does not say when it has failed
        self._watching = [asyncio.create_task(watched.run()) for watched in self._watched]

    async def say_serving(self) -> None:
        """Call when every required member is warm."""
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def ended(self) -> None:
        """Returns when no call is taken any more: gRPC closes the port at one whose method is not UTF-8, and lives on."""
        await asyncio.wait(
            self._serving or {asyncio.create_task(asyncio.Event().wait())}
        )  # another gRPC may show nothing

    async def drain(self, idle: asyncio.Event) -> None:
        """Says NOT_SERVING, refuses new requests, and gives those in flight the time to finish.

        Health watchers never end by themselves; once `idle` is set, because no request is left, they are not waited for.
        """
        if not self._draining:
            self._draining = True
            await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
            await asyncio.sleep(min(_HEARD_S, self._settings.drain_seconds))
            self._service.drain()
        stopping = asyncio.create_task(self._server.stop(self._settings.drain_seconds))
        resting = asyncio.create_task(idle.wait())
        await asyncio.wait((stopping, resting), return_when=asyncio.FIRST_COMPLETED)
        resting.cancel()
        await self._server.stop(_LAST_REPLY_S)
        await stopping
        for watching in self._watching:
            watching.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _say(self, status: int) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


def options(settings: TransportSettings) -> list[tuple[str, Any]]:
    """The limits of a port, which callers meet before anything of theirs is read."""
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.message_bytes_max),
        ("grpc.max_metadata_size", settings.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", settings.metadata_bytes_max),  # below it gRPC refuses only some, at random
        ("grpc.max_allowed_incoming_connections", settings.connections_max),
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake, not a replica
        ("grpc.max_connection_age_ms", round(settings.connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(settings.connection_age_grace_s * 1000)),
        *KEEPALIVE,
    ]


def bind(server: grpc.aio.Server, address: str, tls: Tls | None, field: str) -> int:
    """The port that it listens on; raises ConfigError naming the field."""
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, tls.credentials()))
    except RuntimeError as error:
        raise ConfigError(f"{field}: cannot listen on {address}; is the port in use?") from error
