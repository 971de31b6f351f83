"""What ONNX Runtime is told when a member is to run on a GPU, and how its word is checked.

It steps down to the CPU without a word: for a whole model when libraries are missing, for single nodes when the GPU has
no kernel. Both are refused here, with what to do about it.
"""

import ctypes
import hashlib
import importlib
import json
import os
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from interlock_server.backends.onnx import inputs_of, load_session, session_options
from interlock_server.backends.padding import Shape, Shapes
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@dataclass(frozen=True)
class Target:
    """A provider, where its memory is, and its lanes."""

    provider: str
    device: str
    lane: str
    precisions: frozenset[str] = frozenset({"float32"})


TARGETS: Mapping[str, Target] = {
    "cpu": Target(CPU, "cpu", "cpu"),  # for tests of what does not need a GPU; OnnxBackend is faster there
    "cuda": Target(CUDA, "cuda", "cuda:0"),
    "tensorrt": Target(TENSORRT, "cuda", "cuda:0", frozenset({"float32", "float16"})),
}

# ONNX Runtime puts what computes shapes on the CPU, where it belongs, so that `session.disable_cpu_ep_fallback` would refuse
# every model of free lengths. Anything else on the CPU means that activations travel to and fro.
SHAPE_ARITHMETIC = {
    *("Shape", "Size", "Constant", "ConstantOfShape", "Range", "Identity", "Cast"),
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "ReduceProd", "Equal", "Where"),
    *("Concat", "Expand", "Gather", "Reshape", "Slice", "Squeeze", "Unsqueeze"),
}


def open_session(member: MemberManifest, model: Path, shapes: Shapes, cache: Path) -> Any:
    """The model on the provider of its manifest and on no other; raises BackendError."""
    target = TARGETS[member.runs.provider]
    if member.runs.precision not in target.precisions:
        raise BackendError(
            f"member {member.name}: {target.provider} does not run ONNX files as {member.runs.precision}"
        )
    if target.provider not in onnxruntime.get_available_providers():
        raise BackendError(
            f"member {member.name}: asked for {target.provider}, which this onnxruntime does not have; "
            "uninstall onnxruntime and install interlock[gpu]"
        )
    _load_libraries(target.provider)
    options = session_options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = _providers(member, model, shapes, cache)
    try:
        session = load_session(model, options, providers, member.name)
    except BackendError as error:
        raise BackendError(f"{error}; if it loads on a CPU: {_remedy()}") from error
    refuse_step_down(session, target.provider, member.name)
    if target.provider != CPU:
        refuse_strays(session, member.name)
    return session


def refuse_step_down(session: Any, asked: str, member: str) -> None:
    """Raises BackendError when the model as a whole runs elsewhere."""
    if (got := session.get_providers()[0]) != asked:
        raise BackendError(f"member {member}: asked for {asked}, got {got}: {_remedy()}")


def refuse_strays(session: Any, member: str) -> None:
    """Raises BackendError when nodes that do more than compute shapes were put on the CPU."""
    parts = [part for part in session.get_provider_graph_assignment_info() if part.ep_name == CPU]
    strays = {node.op_type for part in parts for node in part.get_nodes()} - SHAPE_ARITHMETIC
    if strays:
        raise BackendError(
            f"member {member}: the GPU has no kernel for {', '.join(sorted(strays)[:8])}, which would run on the CPU; "
            "INT8 files are for CPUs: take the model in float32 or float16"
        )


def tensorrt_options(names: set[str], shapes: Shapes, float16: bool) -> dict[str, str]:
    """One engine for all shapes, so that none is built while a caller waits."""
    found = shapes.all()
    largest = Shape(max(shape.size for shape in found), max(shape.length for shape in found))
    return {
        "device_id": "0",
        "trt_fp16_enable": str(float16),
        "trt_profile_min_shapes": _profile(names, Shape(1, 1)),
        "trt_profile_opt_shapes": _profile(names, found[0]),
        "trt_profile_max_shapes": _profile(names, largest),
    }


def cached(options: Mapping[str, str], model: Path, cache: Path) -> dict[str, str]:
    """The options with a folder for engines and timings, of this model under these options only.

    An engine is native code: the folder belongs to who runs the server, and is never part of a bundle.
    """
    with model.open("rb") as file:
        key = [hashlib.file_digest(file, "sha256").hexdigest(), onnxruntime.__version__, sorted(options.items())]
    folder = cache / "tensorrt" / hashlib.sha256(json.dumps(key).encode()).hexdigest()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        **options,
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
    }


def default_cache() -> Path:
    """Where this user's programs keep what they can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interlock"


def page_locked(shape: Shape, device: str) -> NDArray[np.int64]:
    """Zeros that a GPU can fetch by itself, and that stay where they are until nobody holds them."""
    buffer = np.zeros(shape, dtype=np.int64)
    if device == "cuda":
        runtime = ctypes.CDLL(f"libcudart.so.{cuda_version().partition('.')[0]}")
        address = ctypes.c_void_p(buffer.ctypes.data)
        if runtime.cudaHostRegister(address, ctypes.c_size_t(buffer.nbytes), ctypes.c_uint(0)):
            raise BackendError(f"cannot lock {buffer.nbytes} bytes of memory for the GPU to fetch")
        weakref.finalize(buffer, runtime.cudaHostUnregister, address)
    return buffer


def cuda_version() -> str:
    """Of the CUDA that this onnxruntime was built for; nothing for one without."""
    return str(getattr(onnxruntime, "cuda_version", ""))


def _remedy() -> str:
    return (
        f"`nvidia-smi` must list a GPU, and the libraries of CUDA {cuda_version()}, cuDNN 9 and, for TensorRT, those of "
        "tensorrt-cu13 10 must be installed"
    )


def _load_libraries(provider: str) -> None:
    if provider != CPU:
        onnxruntime.preload_dlls()  # from the wheels of interlock[gpu]; whether it found them shows in the session
    if provider == TENSORRT:
        with suppress(ImportError):  # its libraries may also come from the system
            importlib.import_module("tensorrt")


def _providers(member: MemberManifest, model: Path, shapes: Shapes, cache: Path) -> list[Any]:
    """In order of preference. The CPU is not named; ONNX Runtime adds it in any case."""
    runs = member.runs
    # Few shapes recur for ever, so memory is taken as asked for. TF32 would round what the manifest calls float32.
    cuda = (CUDA, {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"})
    if runs.provider == "tensorrt":
        names = inputs_of(load_session(model, session_options(), [CPU], member.name), member.name)
        options = tensorrt_options(names, shapes, runs.precision == "float16")
        return [(TENSORRT, cached(options, model, cache)), cuda]
    return [cuda] if runs.provider == "cuda" else [CPU]


def _profile(names: set[str], shape: Shape) -> str:
    return ",".join(f"{name}:{shape.size}x{shape.length}" for name in sorted(names))
