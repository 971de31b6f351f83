"""Trained models -> the files that ship: INT8 ONNX for the encoder, ONNX for the sentence net, a plain tokenizer.

Batch and sequence lengths stay free. The exported file is compared with torch before anybody trusts it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from interlock_lab.training.batches import Window
from interlock_lab.training.tokens import load_tokenizer, padded

log = logging.getLogger(__name__)

OPSET = 20
BATCH_MAX = 1024
QUANTIZED_OPERATORS = ["MatMul", "Gather"]  # Gemm is rewritten to MatMul by the quantiser; Conv would become slower


@dataclass(frozen=True)
class Difference:
    """How far an exported file's probabilities are from torch's."""

    largest: float
    mean: float
    rows: int


def encoder_fp32(model: nn.Module, path: Path, tokens_max: int) -> None:
    sample = {name: torch.ones(2, 16, dtype=torch.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    to_onnx(model, sample, ["logits", "hidden"], path, tokens_max)


def sentences_fp32(model: nn.Module, path: Path, tokens_max: int) -> None:
    sample = {name: torch.ones(2, 16, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    to_onnx(model, sample, ["logits"], path, tokens_max)


def to_onnx(model: nn.Module, sample: dict[str, Tensor], outputs: list[str], path: Path, tokens_max: int) -> None:
    import onnx

    batch, length = torch.export.Dim("batch", min=1, max=BATCH_MAX), torch.export.Dim("length", min=2, max=tokens_max)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            model.eval(),
            args=(),
            kwargs=sample,
            input_names=list(sample),
            output_names=outputs,
            dynamic_shapes={name: {0: batch, 1: length} for name in sample},
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    exported = program.model_proto
    # The exporter's shape notes contradict those that the quantiser infers; they are notes only.
    del exported.graph.value_info[:]
    without_traces(exported)
    onnx.save(exported, str(path))


def without_traces(model: Any) -> None:
    """Removes the exporter's notes, in place: stack traces with the paths of whoever trained, on every node."""
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""


Feed = dict[str, npt.NDArray[np.int64]]


def quantized(source: Path, target: Path, operators: Sequence[str] = QUANTIZED_OPERATORS) -> None:
    """Weights and embeddings to INT8, one scale per output channel; activations are scaled per run, see `fix_ranges`."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # quantize_dynamic advises a preprocessing that this graph has no use for
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            beside = Path(folder) / target.name
            quantize_dynamic(
                source, beside, op_types_to_quantize=list(operators), per_channel=True, weight_type=QuantType.QInt8
            )
            beside.replace(target)
    finally:
        root.setLevel(level)


def fix_ranges(path: Path, samples: Sequence[Feed]) -> None:
    """Replaces the scaling of activations per run by constants seen over `samples`.

    Per run, the largest value in a batch sets everybody's scale: batch mates then move a score by up to 0.7 nats. With
    constants a score depends on its own text alone, at the same distance from torch and the same speed.
    """
    import onnx

    model = onnx.load(str(path))
    dynamic = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    ranges = _ranges(path, [node.input[0] for node in dynamic], samples)
    for node in dynamic:
        values, scale, zero_point = node.output
        for name, constant in zip((scale, zero_point), _scale_of(*ranges[node.input[0]]), strict=True):
            model.graph.initializer.append(onnx.numpy_helper.from_array(constant, name))
        fixed = onnx.helper.make_node("QuantizeLinear", [node.input[0], scale, zero_point], [values], node.name)
        node.CopyFrom(fixed)
    onnx.save(model, str(path))


def _ranges(path: Path, names: Sequence[str], samples: Sequence[Feed]) -> dict[str, tuple[float, float]]:
    with tapped(path, names) as session:
        runs = [[(value.min(), value.max()) for value in session.run(list(names), feed)] for feed in samples]
    extremes = np.array(runs, np.float64)
    return {name: (extremes[:, i, 0].min(), extremes[:, i, 1].max()) for i, name in enumerate(names)}


@contextmanager
def tapped(path: Path, names: Sequence[str]) -> Iterator[Any]:
    """A session of the model in which the named values are outputs too."""
    import onnx

    model = onnx.load(str(path))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/tapped.onnx")
        yield session_of(Path(folder) / "tapped.onnx")


def _scale_of(low: float, high: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    return np.array(scale, np.float32), np.array(np.clip(np.round(-low / scale), 0, 255), np.uint8)


def save_tokenizer(source: Path, target: Path) -> None:
    load_tokenizer(source).save(str(target))


def session_of(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feed_of(window: Window) -> Feed:
    """One input alone, as the reference the server's batches are measured against."""
    input_ids, mask = padded([window.ids])
    return {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": window.types[None].astype(np.int64)}


def probabilities(session: Any, feed: Feed) -> npt.NDArray[np.float64]:
    logits = np.asarray(session.run(["logits"], feed)[0][0], np.float64)
    return np.asarray(1 / (1 + np.exp(-logits)))


def compare(path: Path, windows: Sequence[Window], expected: npt.NDArray[Any]) -> Difference:
    session = session_of(path)
    return difference(expected, np.stack([probabilities(session, feed_of(window)) for window in windows]))


def difference(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> Difference:
    gap = np.abs(np.asarray(expected, np.float64) - np.asarray(found, np.float64))
    return Difference(largest=float(gap.max()), mean=float(gap.mean()), rows=len(gap))
