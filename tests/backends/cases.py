"""One loaded backend of each sort, small and real: what the contract is run against."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fakes import CATEGORIES, IDENTITY, script
from interlock_server.backends.backend import Backend, Window
from interlock_server.backends.linear import LinearBackend
from interlock_server.backends.ngram_features import BUCKETS
from interlock_server.backends.onnx import OnnxBackend
from interlock_server.backends.onnx_gpu import OnnxGpuBackend
from interlock_server.backends.pytorch import PytorchBackend
from interlock_server.backends.scripted import ScriptedBackend
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.text.exchange import Exchange
from tritonserver.case import triton

from .tiny_bert import FakeGpu, save_checkpoint

DATA = Path(__file__).parent.parent / "data"
TOKENS_MAX, PROMPT_TOKENS_MAX, CHARS_MAX = 32, 8, 60
SIZES = {"tokens_max": TOKENS_MAX, "prompt_tokens_max": PROMPT_TOKENS_MAX, "chars_max": CHARS_MAX}


@dataclass(frozen=True)
class Case:
    """A backend, and whether one of its windows fits the model."""

    backend: Backend
    fits: Callable[[Window, Exchange], bool]


def manifest(backend: str, name: str = "tester", runs: dict[str, Any] | None = None, **reads: Any) -> MemberManifest:
    """What a bundle says of the member."""
    return MemberManifest.model_validate(
        {
            "name": name,
            "kind": backend,
            "backend": backend,
            "categories": CATEGORIES,
            "reads": {**SIZES, **reads},
            "runs": runs or {},
            "files": {"model": "model", "tokenizer": "tokenizer", "config": "config"},
            "score_maps": dict.fromkeys(CATEGORIES, IDENTITY),
        }
    )


def onnx(folder: Path, reads: str = "exchange", model: str = "tiny.onnx") -> Case:
    """A sum of embeddings on ONNX Runtime."""
    files = {"model": DATA / model, "tokenizer": DATA / "tokenizer.json"}
    backend = OnnxBackend(manifest("onnx", input=reads), files)
    return Case(backend, _few_tokens)


def onnx_bound(folder: Path) -> Case:
    """The same, padded, through memory that is bound once, as on a GPU."""
    files = {"model": DATA / "tiny.onnx", "tokenizer": DATA / "tokenizer.json"}
    return Case(OnnxGpuBackend(manifest("onnx"), files), _few_tokens)


def pytorch(folder: Path) -> Case:
    """A thin BERT in PyTorch, on the CPU."""
    return Case(PytorchBackend(manifest("pytorch"), save_checkpoint(folder)), _few_tokens)


def pytorch_graphs(folder: Path) -> Case:
    """The same, padded, recorded and replayed as on two streams of a GPU."""
    backend = PytorchBackend(manifest("pytorch"), save_checkpoint(folder), lambda: [FakeGpu(), FakeGpu()])
    return Case(backend, _few_tokens)


def sentences(folder: Path) -> Case:
    """The same, sentence by sentence."""
    return onnx(folder, "sentences")


def linear(folder: Path) -> Case:
    """Random weights over n-grams."""
    random = np.random.default_rng(0)
    np.savez(folder / "model.npz", weights=random.normal(0, 0.1, (BUCKETS, 4)).astype(np.float32), bias=np.zeros(4))
    backend = LinearBackend(manifest("linear", input="characters"), {"model": folder / "model.npz"})
    return Case(backend, _short)


def scripted(folder: Path) -> Case:
    """Phrases; a window is a whole view."""
    script(folder, "tester")
    backend = ScriptedBackend(manifest("scripted"), {"model": folder / "tester.json"})
    return Case(backend, lambda window, exchange: True)


CASES = [onnx, sentences, onnx_bound, pytorch, pytorch_graphs, triton, linear, scripted]


def _few_tokens(window: Window, exchange: Exchange) -> bool:
    return len(window.ids) <= TOKENS_MAX


def _short(window: Window, exchange: Exchange) -> bool:
    start, end = window.span
    return window.view != "raw" or len(exchange.completion.encode()[start:end].decode()) <= CHARS_MAX
