"""ONNX Runtime on a GPU, as far as a machine without one can tell: what is asked for, what is refused, and the binding."""

import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from interlock_server.backends.agreement import TOLERANCE
from interlock_server.backends.backend import Run
from interlock_server.backends.gpu_providers import (
    CPU,
    CUDA,
    TARGETS,
    cached,
    default_cache,
    open_session,
    refuse_step_down,
    refuse_strays,
    tensorrt_options,
)
from interlock_server.backends.onnx import OnnxBackend, load_session, session_options
from interlock_server.backends.onnx_gpu import OnnxGpuBackend, shapes_of
from interlock_server.backends.padding import Shapes
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .cases import DATA, manifest, onnx_bound

FILES = {"model": DATA / "tiny.onnx", "tokenizer": DATA / "tokenizer.json"}
TEXTS = ["tea", "She poured two cups of tea.", "He stabbed her twice! " * 20, "a. " * 90, "ѕtаb"]
GPU = shutil.which("nvidia-smi") is not None  # onnxruntime-gpu claims its providers with and without one
AVAILABLE = onnxruntime.get_available_providers()
HERE = [name for name, target in TARGETS.items() if target.provider in AVAILABLE and (GPU or name == "cpu")]
NOT_HERE = sorted(set(TARGETS) - set(HERE))
NUMBERS = {"cpu": "float32", "cuda": "float32", "tensorrt": "tf32"}


def session(model: str) -> Any:
    """On the CPU, with a record of what runs where."""
    options = session_options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return load_session(DATA / model, options, [CPU], "tester")


@pytest.mark.parametrize("provider", HERE)
def test_every_provider_agrees_with_the_cpu(provider: str, tmp_path: Path):
    """To within what its arithmetic allows, on each provider that this machine has."""
    exact = OnnxBackend(manifest("onnx"), FILES)
    backend = OnnxGpuBackend(manifest("onnx", runs={"provider": provider}), FILES, tmp_path)
    windows = [window for text in TEXTS for window in exact.read(Exchange("Who?", text)).windows]
    off = np.abs(exact.score(windows, Run()) - backend.score(windows, Run())).max()

    assert off <= TOLERANCE[NUMBERS[provider]]


@pytest.mark.parametrize("provider", NOT_HERE)
def test_a_provider_that_is_not_there_is_refused(provider: str, tmp_path: Path):
    """Never a silent step down to the CPU; the message says what to install."""
    with pytest.raises(BackendError, match=r"^member tester: .*(install interlock\[gpu\]|must be installed)$"):
        OnnxGpuBackend(manifest("onnx", runs={"provider": provider}), FILES, tmp_path)


def test_another_provider_than_was_asked_for_is_refused():
    """What onnxruntime-gpu does where there is no GPU."""
    with pytest.raises(
        BackendError, match=f"^member tester: asked for {CUDA}, got {CPU}: `nvidia-smi` must list a GPU"
    ):
        refuse_step_down(session("tiny.onnx"), CUDA, "tester")


def test_single_nodes_on_the_cpu_are_refused():
    """The message says which operators the GPU does not know."""
    with pytest.raises(BackendError, match=r"^member tester: the GPU has no kernel for ReduceSum, which would run on"):
        refuse_strays(session("tiny.onnx"), "tester")


def test_the_arithmetic_of_shapes_may_be_on_the_cpu():
    """ONNX Runtime puts it there on purpose."""
    assert refuse_strays(session("wrong_inputs.onnx"), "tester") is None  # it has a Cast and nothing else


def test_a_precision_that_cannot_be_had_is_refused():
    """TensorRT can round to float16, and to nothing else."""
    member = manifest("onnx", runs={"provider": "tensorrt", "precision": "bfloat16"})
    with pytest.raises(BackendError, match=r"does not run ONNX files as bfloat16$"):
        open_session(member, FILES["model"], Shapes(32, 64), default_cache())


def test_tensorrt_builds_one_engine_for_all_shapes():
    """From one token to the largest batch of the longest windows."""
    options = tensorrt_options({"attention_mask", "input_ids"}, Shapes(256, 4096, 16), float16=True)

    assert "attention_mask:1x1,input_ids:1x1" == options["trt_profile_min_shapes"]
    assert "attention_mask:16x256,input_ids:16x256" == options["trt_profile_max_shapes"]
    assert "True" == options["trt_fp16_enable"]


@pytest.mark.parametrize("tokens_max", [32, 100, 512, 8192])
def test_the_largest_engine_keeps_to_the_budget(tokens_max: int):
    """Its batch size is cut, also for short windows."""
    member = manifest("onnx", runs={"provider": "tensorrt", "batch_tokens_max": 16_384}, tokens_max=tokens_max)
    shapes = shapes_of(member).all()

    assert max(shape.size for shape in shapes) * max(shape.length for shape in shapes) <= 16_384


def test_engines_are_kept_by_model_and_by_options(tmp_path: Path):
    """In a folder that nobody else can write to."""
    models = [DATA / "tiny.onnx", DATA / "endless.onnx"]
    choices = [{"trt_fp16_enable": "True"}, {"trt_fp16_enable": "False"}]
    found = [cached(options, model, tmp_path)["trt_engine_cache_path"] for model in models for options in choices]

    assert 4 == len(set(found))
    assert [0o700] * 4 == [stat.S_IMODE(Path(folder).stat().st_mode) for folder in found]
    assert found[-1] == cached(choices[-1], models[-1], tmp_path)["trt_engine_cache_path"]


def test_the_cache_is_where_the_user_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the convention of the platform."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert tmp_path / "interlock" == default_cache()


def test_nothing_is_left_over_from_the_run_before(tmp_path: Path):
    """Long and short windows share their buffers."""
    backend = onnx_bound(tmp_path).backend
    short, long = (backend.read(Exchange("", text)).windows for text in ("tea", "She poured two cups of tea."))
    before = backend.score(short, Run())
    backend.score(long, Run())

    assert np.array_equal(before, backend.score(short, Run()))


def test_other_inputs_are_refused():
    """As on a CPU."""
    files = {**FILES, "model": DATA / "wrong_inputs.onnx"}
    with pytest.raises(BackendError, match=r"^member tester: the model's inputs are \['pixels'\]$"):
        OnnxGpuBackend(manifest("onnx"), files)
