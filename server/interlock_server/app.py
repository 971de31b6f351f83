"""The composition root: configuration -> parts -> server. The only file, with cli.py, that knows every part."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
from interlock.admin.v1 import admin_pb2_grpc

from interlock_server import __version__
from interlock_server.access.access import Access
from interlock_server.audit.log import AuditLog
from interlock_server.bundle.load import Bundle
from interlock_server.config import Config, ConfigSource
from interlock_server.errors import BackendError
from interlock_server.filter import SafetyFilter
from interlock_server.loading import certification, checked_members, load, load_gate, load_members
from interlock_server.log import log_event
from interlock_server.metrics import Metrics
from interlock_server.reload.engine import Engine
from interlock_server.reload.generation import Surroundings, cache_of, digests_of
from interlock_server.reload.reloader import Reloader
from interlock_server.reload.watch import watch
from interlock_server.tracing.running import running_tracer
from interlock_server.tracing.tracer import UNTRACED, SpanTracer
from interlock_server.transport.admin import AdminServer
from interlock_server.transport.admin_service import AdminService
from interlock_server.transport.http import HttpServer
from interlock_server.transport.server import GrpcServer
from interlock_server.transport.service import SafetyFilterService
from interlock_server.transport.tls import Tls

__all__ = ["certification", "checked_members", "load", "load_gate", "load_members", "running_filter", "serve"]


@asynccontextmanager
async def running_filter(
    config: Config, bundle: Bundle, metrics: Metrics, budget_s: float | None = None
) -> AsyncIterator[SafetyFilter]:
    """A filter for work offline, with its members loaded, checked and warm. It records nothing. Raises InterlockError."""
    engine = await Engine.start(config, bundle, metrics)
    try:
        yield SafetyFilter(
            engine.panel,
            bundle.policy,
            config.inference.reply_reserve_ms / 1000,
            metrics,
            budget_s,
            cache_of(config, bundle),
            gate=engine.gate,
            certification=certification(bundle),
            digests=digests_of(bundle),
        )
    finally:
        await engine.panel.close()


async def serve(
    config: Config,
    on_ready: Callable[[int, int], None] = lambda port, http_port: None,
    source: ConfigSource | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Raises InterlockError when it cannot start or cannot heal.

    `source` is where the configuration is read again when it is to be reloaded.
    """
    metrics = Metrics()
    async with running_tracer(config.tracing, metrics) as tracer:
        await _serve(config, on_ready, source, metrics, tracer)


async def _serve(
    config: Config,
    on_ready: Callable[[int, int], None],
    source: ConfigSource | None,
    metrics: Metrics,
    tracer: SpanTracer | None,
) -> None:
    access = Access(config.access, metrics)
    tls = Tls(config.transport.tls, metrics) if config.transport.tls else None
    service = SafetyFilterService(config.transport, metrics)
    grpc_server = GrpcServer(config.transport, service, metrics, access, tls, tracer)
    serving = asyncio.Event()
    http_server = HttpServer(config.transport.http_address, metrics, serving.is_set, tls)
    await grpc_server.start()
    try:
        async with (
            running_log(config, metrics) as log,
            running_reloader(config, source, Surroundings(metrics, log, tracer or UNTRACED), service) as reloader,
            operated(config, source, reloader, access, tls) as admin_port,
        ):
            await grpc_server.say_serving()
            serving.set()
            ports = {"port": grpc_server.port, "http_port": http_server.port, "admin_port": admin_port}
            log_event("ready", **ports, **reloader.current.named)
            on_ready(grpc_server.port, http_server.port)
            complaint = await _until_stopped(reloader.cannot_heal, grpc_server)
            serving.clear()
            log_event("draining")
            await reloader.stop()
            await grpc_server.drain(service.idle)
        if complaint:
            raise BackendError(f"{complaint}; exiting to be restarted")
    finally:
        await grpc_server.drain(service.idle)
        http_server.close()


@asynccontextmanager
async def running_log(config: Config, metrics: Metrics) -> AsyncIterator[AuditLog | None]:
    """The audit log, if there is to be one: the same for whatever is in force. Raises ConfigError."""
    if config.audit.folder is None:
        yield None
        return
    log = await asyncio.to_thread(AuditLog.open, config.audit, __version__, metrics.of_audit())
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def running_reloader(
    config: Config, source: ConfigSource | None, around: Surroundings, service: SafetyFilterService
) -> AsyncIterator[Reloader]:
    """What is in force, and what puts something else in force. Raises InterlockError."""
    reloader = Reloader(config, source.read if source else lambda: config, around, service.begin)
    try:
        await reloader.start()
        yield reloader
    finally:
        await reloader.close()


@asynccontextmanager
async def operated(
    config: Config, source: ConfigSource | None, reloader: Reloader, access: Access, tls: Tls | None
) -> AsyncIterator[int | None]:
    """Lets operators reload, by signal, by changing files and over the admin port, which it tells. Raises ConfigError."""
    own = (source.path,) if source and source.path else ()
    admin = None
    if config.transport.admin_address is not None:
        admin = AdminServer(config.transport, partial(_add_admin, reloader), access, tls)
        await admin.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask, "signal")
    watching = asyncio.create_task(_watch(config, own, reloader))
    try:
        yield admin.port if admin else None
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await reloader.stop()
        if admin is not None:
            await admin.stop()


async def _watch(config: Config, own: tuple[Path, ...], reloader: Reloader) -> None:
    settings = config.reload
    if settings.watch_s is not None:
        await watch(lambda: own + reloader.files, settings.watch_s, settings.settle_s, reloader.reload)


def _add_admin(reloader: Reloader, server: grpc.aio.Server) -> None:
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(reloader), server)


async def _until_stopped(cannot_heal: asyncio.Event, grpc_server: GrpcServer) -> str:
    """Waits for a signal, or for something that only a restart mends, which is returned."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as tasks:
        waits = {
            tasks.create_task(stopped.wait()): "",
            tasks.create_task(cannot_heal.wait()): "too many lanes hang",
            tasks.create_task(grpc_server.ended()): "the gRPC server has ended by itself",
        }
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    return "" if stopped.is_set() else waits[done.pop()]
