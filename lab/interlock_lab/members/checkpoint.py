"""A safetensors checkpoint of a BERT-like classifier -> ONNX. No pickle is read and no code of the checkpoint is run."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from interlock_server.errors import ConfigError
from torch import Tensor, nn

from interlock_lab.training.export import session_of, to_onnx

DIFFERENCE_MAX = 1e-3
SHAPES = ((1, 2), (1, 11), (3, 16))


class _Logits(nn.Module):
    """The classifier with logits as its only output, and the inputs that the server can feed."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def export_checkpoint(folder: Path, target: Path, tokens_max: int) -> None:
    """Writes the classifier in `folder` to `target`, and compares both; raises ConfigError when that cannot be trusted."""
    model = _load(folder)
    has_types = getattr(model.config, "type_vocab_size", 0) >= 2
    names = ["input_ids", "attention_mask"]
    if has_types and "token_type_ids" in inspect.signature(model.forward).parameters:
        names.append("token_type_ids")
    logits = _Logits(model).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses packages that nothing here needs
    to_onnx(logits, {name: torch.ones(2, 16, dtype=torch.int64) for name in names}, ["logits"], target, tokens_max)
    if not (off := _difference(logits, names, target, tokens_max)) <= DIFFERENCE_MAX:
        raise ConfigError(f"{folder}: the exported model is off by {off:.2g} from the checkpoint")


def _load(folder: Path) -> Any:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a checkpoint that is none makes transformers raise
        raise ConfigError(
            f"{folder}: is no classifier that transformers knows: {str(error).splitlines()[0]}"
        ) from error
    if absent := sorted(report["missing_keys"]):  # transformers fills them with noise
        raise ConfigError(f"{folder}: has no weights for {', '.join(absent)}; it was not trained as a classifier")
    return model.eval()


def _difference(model: nn.Module, names: list[str], path: Path, tokens_max: int) -> float:
    session = session_of(path)
    random = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, length in (*SHAPES, (1, tokens_max)):
        feed = {name: torch.ones(batch, length, dtype=torch.int64) for name in names}
        feed["input_ids"] = torch.randint(3, _vocabulary(model), (batch, length), generator=random)
        with torch.no_grad():
            expected = model(**feed).numpy()
        found = session.run(["logits"], {name: tensor.numpy() for name, tensor in feed.items()})[0]
        largest = max(largest, float(np.abs(expected - found).max()))
    return largest


def _vocabulary(model: Any) -> int:
    return int(model.model.config.vocab_size)
