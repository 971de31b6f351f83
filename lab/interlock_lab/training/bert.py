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
    """(logits [batch, 4], hidden [batch, width]), the hidden state mean-pooled as MiniLM's sentences were in training.

    Each head gathers the tokens of the completion by an attention of its own, which begins as their mean: one harmful
    sentence can then outweigh a page of harmless ones, and the words of the prompt count only through the layers.
    """

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.dropout = nn.Dropout(shape.dropout)
        self.gaze = nn.Linear(shape.width, len(CATEGORIES))
        self.head = nn.Linear(shape.width, len(CATEGORIES))
        nn.init.zeros_(self.gaze.weight)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.lower(input_ids, attention_mask, token_type_ids, 0)
        return self.upper(hidden, attention_mask, token_type_ids, 0)

    def lower(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, layers: int) -> Tensor:
        """The hidden states [batch, length, width] after that many layers."""
        hidden: Tensor = self.embeddings(input_ids, token_type_ids)
        for layer in self.layer[:layers]:
            hidden = layer(hidden, _bias(attention_mask))
        return hidden

    def upper(
        self, hidden: Tensor, attention_mask: Tensor, token_type_ids: Tensor, layers: int
    ) -> tuple[Tensor, Tensor]:
        """From the hidden states after that many layers to the end."""
        for layer in self.layer[layers:]:
            hidden = layer(hidden, _bias(attention_mask))
        mask = attention_mask.to(torch.float32)
        pooled = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        completion = mask * token_type_ids
        focus = torch.softmax(self.gaze(hidden) + (1.0 - completion)[:, :, None] * -10000.0, dim=1)
        gathered = focus.to(hidden.dtype).transpose(1, 2) @ hidden
        return (self.dropout(gathered) * self.head.weight).sum(dim=-1) + self.head.bias, pooled


def _bias(attention_mask: Tensor) -> Tensor:
    """Added to attention's logits: nobody looks at padding."""
    return (1.0 - attention_mask.to(torch.float32))[:, None, None, :] * -10000.0


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
    """Fills everything but the heads from a published BERT file; a name that does not fit is an error."""
    from safetensors.torch import load_file

    state = {}
    for name, tensor in load_file(weights).items():
        if not name.startswith("pooler.") and not name.endswith("position_ids"):
            state[_renamed(name)] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(not name.startswith(("gaze.", "head.")) for name in missing):
        raise ValueError(f"not a BERT of this shape: missing {missing}, unexpected {unexpected}")


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name
