"""Tiny published classifiers, in the published format: a BERT that notices single words, as safetensors or as ONNX.

An embedding is a unit vector for a word that the model knows and nearly zero for any other; attention averages, and layer
norm makes one known word among many as loud as alone. So logits are high exactly when a known word stands in the text.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import torch
from interlock_lab.members.checkpoint import export_checkpoint
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertForSequenceClassification

VIOLENT, HATEFUL = ("stabbed", "clubbed"), ("vermin", "subhuman")
NEUTRAL = (
    "she",
    "he",
    "the",
    "two",
    "cups",
    "tea",
    "of",
    "poured",
    "walked",
    "sat",
    "garden",
    "letter",
    "quiet",
    "green",
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *VIOLENT, *HATEFUL, *NEUTRAL]
WIDTH, POSITIONS, LOUDNESS = 8, 32, 4.0
Weights = Sequence[tuple[float, float]]
"""Per label, how much it makes of violent and of hateful words."""
BOTH: Weights = ((1, 0), (0, 1))
BINARY: Weights = ((-1, -1), (1, 1))


def save_checkpoint(folder: Path, weights: Weights = BOTH, **config: Any) -> Path:
    """As `save_pretrained` writes it: config.json, model.safetensors, tokenizer.json, tokenizer_config.json."""
    model = word_spotter(weights, **{"problem_type": "multi_label_classification", **config})
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_onnx(folder: Path, weights: Weights = BOTH, **config: Any) -> Path:
    """The same with onnx/model.onnx in the place of the weights; its body is exported once, and only the head differs."""
    save_checkpoint(folder, weights, **config)
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    model = onnx.load_from_string(_exported())
    for tensor in model.graph.initializer:
        if tensor.name.endswith(("classifier.weight", "classifier.bias")):
            shape = (len(weights), WIDTH) if tensor.name.endswith("weight") else (len(weights),)
            values = np.zeros(shape, dtype=np.float32)
            if len(shape) == 2:
                values[:, :2] = LOUDNESS * np.array(weights)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(weights)
    onnx.save(model, str(folder / "onnx" / "model.onnx"))
    return folder


@cache
def _exported() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = save_checkpoint(Path(name), BOTH)
        export_checkpoint(folder, folder / "model.onnx", POSITIONS)
        return (folder / "model.onnx").read_bytes()


def save_tokenizer(folder: Path) -> None:
    """Of whole words, uncased, with BERT's frame."""
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(16)  # as many publishers leave it
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": int(1e30)}))


def word_spotter(weights: Weights, **config: Any) -> BertForSequenceClassification:
    """The model, its weights set by hand."""
    labels = config.pop("labels", None) or [f"LABEL_{place}" for place in range(len(weights))]
    shape = BertConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=POSITIONS, layer_norm_eps=1e-6, id2label=dict(enumerate(labels)), **config,
    )  # fmt: skip
    model = BertForSequenceClassification(shape)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        for place, words in enumerate((VIOLENT, HATEFUL, NEUTRAL)):
            for word in words:
                vector = 1e-9 * torch.randn(WIDTH, generator=random) if words is NEUTRAL else torch.eye(WIDTH)[place]
                model.bert.embeddings.word_embeddings.weight[WORDS.index(word)] = vector
        layer = model.bert.encoder.layer[0].attention
        for square in (layer.self.value, layer.output.dense, model.bert.pooler.dense):
            square.weight.copy_(torch.eye(WIDTH))
        for row, pair in enumerate(weights):
            model.classifier.weight[row, :2] = LOUDNESS * torch.tensor(pair, dtype=torch.float32)
    return model.eval()


def rows(count: int, word: str = "", *categories: str) -> Iterator[dict[str, Any]]:
    """Labelled exchanges, all different, with a word in each, and with the other categories known to be absent."""
    for number in range(count):
        words = Random(number).sample(NEUTRAL, 3 + number % 4)
        words.insert(number % 3, word)
        labels = dict.fromkeys(("violence_injury", "illicit", "hate_harassment", "self_harm"), 0)
        yield {"completion": " ".join(words).strip(), "labels": {**labels, **dict.fromkeys(categories, 1)}}


def write_rows(path: Path, *groups: Iterator[dict[str, Any]]) -> Path:
    """A file of labelled exchanges."""
    path.write_text("".join(json.dumps(row) + "\n" for group in groups for row in group))
    return path
