"""Opens what the configuration names: the bundle, its certificate, its members, each checked against the golden exchanges."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

from interlock_server.assurance.gate import Gate
from interlock_server.backends.backend import Backend, RemoteBackend
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.certification import Certification
from interlock_server.config import Config
from interlock_server.errors import BackendError
from interlock_server.inference.golden import check_golden, check_golden_remotely
from interlock_server.inference.panel import REMOTE
from interlock_server.inference.scoring import Member
from interlock_server.monitor import Monitor

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
                check = partial(check_golden_remotely, member, manifest, bundle.golden, gate=gate)
                await cast(RemoteBackend, member.backend).connect(check)
            else:
                costs[member.name] = await asyncio.to_thread(check_golden, member, manifest, bundle.golden, gate)
    except BaseException:
        await asyncio.gather(*(cast(RemoteBackend, m.backend).close() for m in members if m.lane == REMOTE))
        for member in members:
            if member.lane != REMOTE:
                member.backend.close()
        raise
    return members, costs


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
