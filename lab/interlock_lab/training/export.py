"""Trained models -> the files that ship: INT8 ONNX for the encoder, ONNX for the sentence net, a plain tokenizer.

Batch and sequence lengths stay free. The exported file is compared with torch before anybody trusts it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from interlock_lab.training.batches import Window
from interlock_lab.training.tokens import Ids, load_tokenizer, padded

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
    _export(model, sample, ["logits", "hidden"], path, tokens_max)


def sentences_fp32(model: nn.Module, path: Path, tokens_max: int) -> None:
    sample = {name: torch.ones(2, 16, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    _export(model, sample, ["logits"], path, tokens_max)


def _export(model: nn.Module, sample: dict[str, Tensor], outputs: list[str], path: Path, tokens_max: int) -> None:
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
    onnx.save(exported, str(path))


def quantized(source: Path, target: Path, operators: Sequence[str] = QUANTIZED_OPERATORS) -> None:
    """Weights and embeddings to INT8, one scale per output channel; activations are scaled per run."""
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


def save_tokenizer(source: Path, target: Path) -> None:
    load_tokenizer(source).save(str(target))


def session_of(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def probabilities(session: Any, ids: Ids, types: Ids | None = None) -> npt.NDArray[np.float64]:
    """One input alone, as the reference the server's batches are measured against."""
    input_ids, mask = padded([ids])
    feed = {"input_ids": input_ids, "attention_mask": mask}
    if types is not None:
        feed["token_type_ids"] = types[None].astype(np.int64)
    logits = np.asarray(session.run(["logits"], feed)[0][0], np.float64)
    return np.asarray(1 / (1 + np.exp(-logits)))


def compare(path: Path, windows: Sequence[Window], expected: npt.NDArray[Any]) -> Difference:
    session = session_of(path)
    return difference(expected, np.stack([probabilities(session, window.ids, window.types) for window in windows]))


def difference(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> Difference:
    gap = np.abs(np.asarray(expected, np.float64) - np.asarray(found, np.float64))
    return Difference(largest=float(gap.max()), mean=float(gap.mean()), rows=len(gap))
