"""A compact BERT for classification: parameter names as in the published MiniLM file, operations that export plainly.

Attention is written out (no fused kernel), so that the exported graph stays a handful of well-known operators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from interlock_lab.training.rows import CATEGORIES


@dataclass(frozen=True)
class BertShape:
    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    inner_width: int = 1536
    positions: int = 512
    dropout: float = 0.1


class Embeddings(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embeddings = nn.Embedding(shape.positions, shape.width)
        self.token_type_embeddings = nn.Embedding(2, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, eps=1e-12)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        normed: Tensor = self.LayerNorm(summed + self.position_embeddings(positions)[None])
        dropped: Tensor = self.dropout(normed)
        return dropped


class Layer(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.scale = 1.0 / math.sqrt(width // shape.heads)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width, eps=1e-12)
        self.inner = nn.Linear(width, shape.inner_width)
        self.outer = nn.Linear(shape.inner_width, width)
        self.outer_norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        attended = self.attended(self._attend(hidden, bias))
        hidden = self.attended_norm(hidden + self.dropout(attended))
        inner = nn.functional.gelu(self.inner(hidden))
        normed: Tensor = self.outer_norm(hidden + self.dropout(self.outer(inner)))
        return normed

    def _attend(self, hidden: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (self._split(part(hidden)) for part in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(-1, -2) * self.scale + bias, dim=-1)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2)
        return mixed.flatten(2)

    def _split(self, hidden: Tensor) -> Tensor:
        split: Tensor = hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return split


class BertClassifier(nn.Module):
    """(logits [batch, 4], hidden [batch, width]): mean-pooled, because that is how MiniLM's sentences were trained."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, len(CATEGORIES))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        mask = attention_mask.to(torch.float32)
        bias = (1.0 - mask)[:, None, None, :] * -10000.0
        hidden = self.embeddings(input_ids, token_type_ids)
        for layer in self.layer:
            hidden = layer(hidden, bias)
        pooled = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        return self.head(self.dropout(pooled)), pooled


_RENAMED = {
    "attention.self.": "",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
    "encoder.layer": "layer",
}


def load_pretrained(model: BertClassifier, weights: Path) -> None:
    """Fills everything but the head from a published BERT file; a name that does not fit is an error."""
    from safetensors.torch import load_file

    state = {}
    for name, tensor in load_file(weights).items():
        if not name.startswith("pooler.") and not name.endswith("position_ids"):
            state[_renamed(name)] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(not name.startswith("head.") for name in missing):
        raise ValueError(f"not a BERT of this shape: missing {missing}, unexpected {unexpected}")


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name
