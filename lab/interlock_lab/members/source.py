"""What lies in a folder of a published classifier, and what it says of itself. Nothing here runs anything of it.

Files that can carry code (torch pickles, TorchScript) are refused, whatever else is beside them is read as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock_server.errors import ConfigError
from interlock_server.strict import read_mapping
from tokenizers import Tokenizer

ONNX = ("model.onnx", "onnx/model.onnx")
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
CAN_CARRY_CODE = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".keras", ".msgpack", ".joblib"}
TOKENS_MAX = 512
# Their first position is not 0 but the one after that of the padding token.
PADDED_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text"}
ANY_TEXT = "She POURED Two Cups Of Tea"
ACTIVATIONS = {"multi_label_classification": "sigmoid", "single_label_classification": "softmax"}

REMEDY = (
    "its weights can carry code, so they are not opened. Ask the publisher for safetensors or ONNX, or convert them "
    "on a machine that has nothing to lose: AutoModelForSequenceClassification.from_pretrained(DIR).save_pretrained(OUT)"
)


@dataclass(frozen=True)
class Source:
    """Where the model and its tokenizer are, and what config.json says; without one, nothing is known."""

    model: Path
    tokenizer: Path
    labels: tuple[str, ...] | None
    activation: str | None
    tokens_max: int | None
    uncased: bool

    @property
    def is_onnx(self) -> bool:
        """Whether it needs no export."""
        return self.model.suffix == ".onnx"


def find_source(path: Path, tokenizer: Path | None = None) -> Source:
    """The classifier in a folder, or a bare ONNX file; raises ConfigError saying what is missing."""
    model = _model(path)
    folder = path if path.is_dir() else path.parent
    tokenizer = tokenizer or folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ConfigError(
            f"{path}: has no tokenizer.json; AutoTokenizer.from_pretrained(DIR, use_fast=True).save_pretrained(DIR) makes one"
        )
    config = read_mapping(folder / "config.json") if (folder / "config.json").is_file() else {}
    limits = folder / "tokenizer_config.json"
    sizes = [_positions(config), read_mapping(limits).get("model_max_length") if limits.is_file() else None]
    known = [int(size) for size in sizes if isinstance(size, int | float) and size > 0]
    return Source(
        model, tokenizer, _labels(config), ACTIVATIONS.get(config.get("problem_type") or ""),
        min([*known, TOKENS_MAX]) if known else None, _uncased(tokenizer),
    )  # fmt: skip


def _model(path: Path) -> Path:
    if path.is_file() and path.suffix == ".onnx":
        return path
    if path.suffix in CAN_CARRY_CODE:
        raise ConfigError(f"{path.name}: {REMEDY}")
    if not path.is_dir():
        raise ConfigError(f"{path}: is neither a folder nor an .onnx file")
    for name in (*ONNX, *SAFETENSORS):
        if (path / name).is_file():
            return path / name
    if unsafe := sorted(file.name for file in path.iterdir() if file.suffix in CAN_CARRY_CODE):
        raise ConfigError(f"{path}: has only {', '.join(unsafe)}: {REMEDY}")
    raise ConfigError(f"{path}: has none of {', '.join((*ONNX, *SAFETENSORS))}")


def _labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    if not config:
        return None
    # transformers leaves out what is its default: two labels without names.
    names = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(config.get("num_labels") or 2)}
    if set(names) != {str(place) for place in range(len(names))}:
        raise ConfigError("config.json: id2label: must number the labels from 0")
    labels = tuple(str(names[str(place)]) for place in range(len(names)))
    if len(set(labels)) != len(labels):
        raise ConfigError("config.json: id2label: names two labels alike")
    return labels


def _positions(config: Mapping[str, Any]) -> int | None:
    size = config.get("max_position_embeddings")
    if isinstance(size, int) and config.get("model_type") in PADDED_POSITIONS:
        return size - (config.get("pad_token_id") or 1) - 1
    return size if isinstance(size, int) else None


def _uncased(path: Path) -> bool:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ConfigError(f"{path.name}: is not a tokenizer") from error
    ids = [tokenizer.encode(text).ids for text in (ANY_TEXT, ANY_TEXT.lower())]
    return bool(ids[0] == ids[1])
