"""The composition root: configuration -> parts -> server. The only file, with cli.py, that knows every part."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

from interlock.v1 import safety_filter_pb2 as pb

from interlock_server import __version__
from interlock_server.assurance.gate import Gate
from interlock_server.audit import record
from interlock_server.audit.log import AuditLog
from interlock_server.backends.backend import Backend, RemoteBackend
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.bundle.policy_file import load_policy
from interlock_server.certification import Certification
from interlock_server.config import Config
from interlock_server.errors import BackendError
from interlock_server.filter import SafetyFilter
from interlock_server.inference.cache import EvidenceCache
from interlock_server.inference.golden import check_golden, check_golden_remotely
from interlock_server.inference.panel import REMOTE, Panel
from interlock_server.inference.scoring import Member
from interlock_server.log import log_event
from interlock_server.metrics import Metrics
from interlock_server.monitor import Monitor, Versions
from interlock_server.recording import Recorder
from interlock_server.refuting import certificate_digest
from interlock_server.transport.http import HttpServer
from interlock_server.transport.server import GrpcServer
from interlock_server.transport.service import SafetyFilterService
from interlock_server.transport.translate import to_ensemble

Files = Mapping[str, Path]


def load(config: Config) -> Bundle:
    """The configured bundle, verified."""
    policy = Path(config.bundle.policy) if config.bundle.policy else None
    certificate = Path(config.bundle.certificate) if config.bundle.certificate else None
    return load_bundle(Path(config.bundle.path), config.bundle.digest, policy, certificate)


def certification(bundle: Bundle, monitor: Monitor | None = None) -> Certification:
    """How the bundle's certificate stands beside its models and its policy, and beside what traffic has shown."""
    stated = bundle.certificate.to_certificate() if bundle.certificate else None
    refuted = (lambda: monitor.refuted) if monitor else (lambda: False)
    return Certification(stated, bundle.models_digest, bundle.policy, bundle.manifest.categories, refuted)


def load_members(bundle: Bundle, triton: TritonSettings | None = None) -> list[Member]:
    """Every member that the policy asks, with its model loaded. Heavy libraries are imported here, and only those needed."""
    manifests = [member for member in bundle.manifest.members if member.name in bundle.policy.members]
    triton = triton or TritonSettings()
    return [
        Member(m.name, tuple(m.categories), BACKENDS[m.backend](m, bundle.files(m), triton), "gate" in m.files)
        for m in manifests
    ]


def load_gate(bundle: Bundle) -> Gate | None:
    """The gate for the unknown, if the bundle has one; raises BackendError."""
    member = bundle.manifest.gated_member
    if member is None:
        return None
    from interlock_server.backends.gate import read_gate

    return read_gate(bundle.files(member)["gate"], member.name)


Costs = dict[str, list[tuple[int, float]]]


async def checked_members(bundle: Bundle, triton: TritonSettings | None = None) -> tuple[list[Member], Costs]:
    """The members, warm, and what each golden exchange cost those in this process.

    Raises BundleError when a score is not reproduced, and BackendError when a model does not load or is not there.
    """
    members = await asyncio.to_thread(load_members, bundle, triton)
    manifests = {manifest.name: manifest for manifest in bundle.manifest.members}
    gate = await asyncio.to_thread(load_gate, bundle)
    costs: Costs = {}
    try:
        for member in members:
            manifest = manifests[member.name]
            if member.lane == REMOTE:
                check = partial(check_golden_remotely, member, manifest, bundle.golden)
                await cast(RemoteBackend, member.backend).connect(check)
            else:
                costs[member.name] = await asyncio.to_thread(check_golden, member, manifest, bundle.golden, gate)
    except BaseException:
        await asyncio.gather(*(cast(RemoteBackend, m.backend).close() for m in members if m.lane == REMOTE))
        raise
    return members, costs


@asynccontextmanager
async def running_recorder(config: Config, bundle: Bundle, metrics: Metrics) -> AsyncIterator[Recorder]:
    """What compares and records the verdicts of the bundle's policy. Raises ConfigError."""
    shadows = {name: load_policy(Path(path), bundle.manifest) for name, path in config.bundle.shadow_policies.items()}
    digests = record.Digests(bundle=bundle.digest, policy=bundle.policy.digest, build=__version__)
    if config.audit.folder is None:
        yield Recorder(None, bundle.policy, shadows, digests, metrics)
        return
    log = await asyncio.to_thread(AuditLog.open, config.audit, __version__, metrics.of_audit())
    try:
        yield Recorder(log, bundle.policy, shadows, digests, metrics)
    finally:
        await log.close()


@asynccontextmanager
async def running_monitor(config: Config, bundle: Bundle, metrics: Metrics) -> AsyncIterator[Monitor | None]:
    """What compares traffic with what was attested, if it is to. Raises ConfigError."""
    settings = config.drift
    if not any((settings.baseline, settings.state, settings.refutation)):
        yield None
        return
    certificate = certificate_digest(bundle.certificate.to_certificate()) if bundle.certificate else ""
    versions = Versions(bundle.digest, bundle.policy.digest, certificate)
    monitor = await asyncio.to_thread(Monitor, settings, bundle.policy, versions, metrics)
    running = asyncio.create_task(monitor.run())
    try:
        yield monitor
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def running_filter(
    config: Config,
    bundle: Bundle,
    metrics: Metrics,
    budget_s: float | None = None,
    recorder: Recorder | None = None,
    monitor: Monitor | None = None,
) -> AsyncIterator[SafetyFilter]:
    """A filter whose members are loaded, checked against the golden exchanges and warm. Raises InterlockError."""
    members, costs = await checked_members(bundle, config.triton)
    gate = await asyncio.to_thread(load_gate, bundle)
    settings = config.inference
    panel = Panel(members, bundle.policy.shadow, settings, metrics)
    panel.start()
    for member, runs in costs.items():
        for size_bytes, took_s in runs:
            panel.learn(member, size_bytes, took_s)
    cache = None
    if settings.cache_entries_max:
        cache = EvidenceCache(settings.cache_entries_max, settings.cache_across_callers, bundle.digest)
    try:
        reserve_s = settings.reply_reserve_ms / 1000
        stands = certification(bundle, monitor)
        yield SafetyFilter(panel, bundle.policy, reserve_s, metrics, budget_s, cache, recorder, gate, monitor, stands)
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
        async with (
            running_recorder(config, bundle, metrics) as recorder,
            running_monitor(config, bundle, metrics) as monitor,
            running_filter(config, bundle, metrics, recorder=recorder, monitor=monitor) as safety_filter,
        ):
            service.begin(safety_filter, to_ensemble(bundle, safety_filter.panel.members, digests(bundle)))
            _describe(metrics, bundle, safety_filter)
            # What is loaded by now stays: without it every collection is short, and none of them stops all lanes for long.
            gc.collect()
            gc.freeze()
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
    safety_filter.certification.announce(metrics)


def _onnx(member: MemberManifest, files: Files, triton: TritonSettings) -> Backend:
    _refuse_both_runtimes()
    with _needs(member, "cpu] or interlock[gpu"):
        if member.runs.provider != "cpu":
            from interlock_server.backends.onnx_gpu import OnnxGpuBackend

            return OnnxGpuBackend(member, files)
        from interlock_server.backends.onnx import OnnxBackend

        return OnnxBackend(member, files)


def _pytorch(member: MemberManifest, files: Files, triton: TritonSettings) -> Backend:
    with _needs(member, "torch"):
        from interlock_server.backends.pytorch import PytorchBackend

        return PytorchBackend(member, files)


def _triton(member: MemberManifest, files: Files, triton: TritonSettings) -> RemoteBackend:
    with _needs(member, "triton"):
        from interlock_server.backends.triton import TritonBackend

        return TritonBackend(member, files, triton)


def _linear(member: MemberManifest, files: Files, triton: TritonSettings) -> Backend:
    from interlock_server.backends.linear import LinearBackend

    return LinearBackend(member, files)


def _scripted(member: MemberManifest, files: Files, triton: TritonSettings) -> Backend:
    from interlock_server.backends.scripted import ScriptedBackend

    return ScriptedBackend(member, files)


BACKENDS: Mapping[str, Callable[[MemberManifest, Files, TritonSettings], Backend | RemoteBackend]] = {
    "onnx": _onnx,
    "pytorch": _pytorch,
    "triton": _triton,
    "linear": _linear,
    "scripted": _scripted,
}


@contextmanager
def _needs(member: MemberManifest, extra: str) -> Iterator[None]:
    """A library that is not installed becomes the remedy."""
    try:
        yield
    except ImportError as error:
        message = f"member {member.name}: install interlock[{extra}] to run it; {error.name} is missing"
        raise BackendError(message) from error


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
