"""The composition root: configuration -> parts -> server. The only file, with cli.py, that knows every part."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from interlock.v1 import safety_filter_pb2 as pb

from interlock_server import __version__
from interlock_server.backends.backend import Backend
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.config import Config
from interlock_server.errors import BackendError
from interlock_server.filter import SafetyFilter
from interlock_server.inference.golden import check_golden
from interlock_server.inference.panel import Panel
from interlock_server.inference.scoring import Member
from interlock_server.log import log_event
from interlock_server.metrics import Metrics
from interlock_server.transport.http import HttpServer
from interlock_server.transport.server import GrpcServer
from interlock_server.transport.service import SafetyFilterService
from interlock_server.transport.translate import to_ensemble


def load(config: Config) -> Bundle:
    """The configured bundle, verified."""
    policy = Path(config.bundle.policy) if config.bundle.policy else None
    return load_bundle(Path(config.bundle.path), config.bundle.digest, policy)


def load_members(bundle: Bundle) -> list[Member]:
    """Every member that the policy asks, with its model loaded. Heavy libraries are imported here, and only those needed."""
    manifests = [member for member in bundle.manifest.members if member.name in bundle.policy.members]
    return [Member(m.name, tuple(m.categories), _backend(m, bundle.files(m))) for m in manifests]


def check_members(bundle: Bundle) -> tuple[list[Member], dict[str, list[tuple[int, float]]]]:
    """The members, warm, and what each golden exchange cost them; raises BundleError when a score is not reproduced."""
    members = load_members(bundle)
    manifests = {manifest.name: manifest for manifest in bundle.manifest.members}
    return members, {member.name: check_golden(member, manifests[member.name], bundle.golden) for member in members}


@asynccontextmanager
async def running_filter(
    config: Config, bundle: Bundle, metrics: Metrics, budget_s: float | None = None
) -> AsyncIterator[SafetyFilter]:
    """A filter whose members are loaded, checked against the golden exchanges and warm. Raises InterlockError."""
    members, costs = await asyncio.to_thread(check_members, bundle)
    panel = Panel(members, bundle.policy.shadow, config.inference, metrics)
    panel.start()
    for member, runs in costs.items():
        for size_bytes, took_s in runs:
            panel.learn(member, size_bytes, took_s)
    try:
        yield SafetyFilter(panel, bundle.policy, config.inference.reply_reserve_ms / 1000, metrics, budget_s)
    finally:
        await panel.close()


async def serve(config: Config, on_ready: Callable[[int, int], None] = lambda port, http_port: None) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Raises InterlockError when it cannot start or cannot heal."""
    metrics = Metrics()
    service = SafetyFilterService(config.transport, metrics)
    grpc_server = GrpcServer(config.transport, service, metrics)
    serving = asyncio.Event()
    http_server = HttpServer(config.transport.http_address, metrics, serving.is_set)
    await grpc_server.start()
    try:
        bundle = await asyncio.to_thread(load, config)
        async with running_filter(config, bundle, metrics) as safety_filter:
            service.begin(safety_filter, to_ensemble(bundle, safety_filter.panel.members, digests(bundle)))
            _describe(metrics, bundle, safety_filter)
            await grpc_server.say_serving()
            serving.set()
            log_event("ready", port=grpc_server.port, http_port=http_server.port, bundle=bundle.digest)
            on_ready(grpc_server.port, http_server.port)
            healthy = await _until_stopped(safety_filter.panel)
            serving.clear()
            log_event("draining")
            await grpc_server.drain(service.idle)
        if not healthy:
            raise BackendError("too many lanes hang; exiting to be restarted")
    finally:
        await grpc_server.drain(service.idle)
        http_server.close()


def digests(bundle: Bundle) -> pb.Digests:
    """What verdicts say about the versions behind them."""
    return pb.Digests(bundle=bundle.digest, policy=bundle.policy.digest, build=__version__)


async def _until_stopped(panel: Panel) -> bool:
    """Waits for a signal (True), or for the panel to say that it cannot heal (False)."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(stopped.wait()), tasks.create_task(panel.cannot_heal.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    return stopped.is_set()


def _describe(metrics: Metrics, bundle: Bundle, safety_filter: SafetyFilter) -> None:
    providers = ",".join(sorted({member.backend.provider for member in safety_filter.panel.members}))
    metrics.info.labels(bundle.digest, bundle.policy.digest, __version__, providers).set(1)
    metrics.certificate_valid.set(0)


def _backend(member: MemberManifest, files: Mapping[str, Path]) -> Backend:
    return BACKENDS[member.backend](member, files)


def _onnx(member: MemberManifest, files: Mapping[str, Path]) -> Backend:
    _refuse_both_runtimes()
    try:
        from interlock_server.backends.onnx import OnnxBackend
    except ImportError as error:
        raise BackendError(
            f"member {member.name}: install interlock[cpu] or interlock[gpu] to run ONNX models"
        ) from error
    return OnnxBackend(member, files)


def _linear(member: MemberManifest, files: Mapping[str, Path]) -> Backend:
    from interlock_server.backends.linear import LinearBackend

    return LinearBackend(member, files)


def _scripted(member: MemberManifest, files: Mapping[str, Path]) -> Backend:
    from interlock_server.backends.scripted import ScriptedBackend

    return ScriptedBackend(member, files)


BACKENDS: Mapping[str, Callable[[MemberManifest, Mapping[str, Path]], Backend]] = {
    "onnx": _onnx,
    "linear": _linear,
    "scripted": _scripted,
}


def _refuse_both_runtimes() -> None:
    """Both wheels fill one folder, and the last one installed wins silently: a GPU may then go unused for months."""
    if all(map(_installed, ("onnxruntime", "onnxruntime-gpu"))):
        raise BackendError(
            "onnxruntime and onnxruntime-gpu are both installed: uninstall both, then install one of them"
        )


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
