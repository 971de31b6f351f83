"""Fine-tunes MiniLM-L6 on (prompt, completion) with four heads: the member `encoder`.

Unknown labels are masked, soft labels stay soft, rows carry weights. The word embeddings stay as published: most words
of real text never occur in our rows, and would drift apart from those that do.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from interlock_lab.training.batches import BatchSettings, Encoded, Window, encode_rows, epoch_windows, token_batches
from interlock_lab.training.bert import BertClassifier, BertShape, load_pretrained
from interlock_lab.training.loop import LoopSettings, train
from interlock_lab.training.rows import CATEGORIES, Row
from interlock_lab.training.tokens import Ids, Pretrained, completion_budget, joined, load_tokenizer, padded

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    epochs: int = 6
    learning_rate: float = 1e-4
    seed: int = 0
    bf16: bool = True
    # Every so many steps (0: never) the hidden states of harmful windows are also pushed towards harmlessness, by this share
    # of their length, after this many layers: after Casper et al., arXiv 2403.05030, with one step of ascent.
    perturbed_every: int = 0
    perturbation: float = 0.15
    perturbed_layer: int = 2
    shape: BertShape = field(default_factory=BertShape)
    batches: BatchSettings = field(default_factory=BatchSettings)


def fine_tune(
    rows: Sequence[Row],
    pretrained: Pretrained,
    settings: EncoderSettings,
    checkpoint: Path,
    *,
    stop_after: int | None = None,
) -> BertClassifier:
    torch.manual_seed(settings.seed)
    model = BertClassifier(settings.shape)
    load_pretrained(model, pretrained.weights)
    model.embeddings.word_embeddings.weight.requires_grad_(False)
    encoded = encode_rows(sorted(rows, key=lambda row: row.id), load_tokenizer(pretrained.tokenizer))
    batches = _Epochs(encoded, settings)
    log.info("encoder: %d rows, %d steps", len(encoded), batches.steps)
    loop = LoopSettings(
        steps=batches.steps, learning_rate=settings.learning_rate, seed=settings.seed, bf16=settings.bf16
    )

    def loss_of_step(step: int) -> Tensor:
        windows = batches.batch(step)
        if settings.perturbed_every and step % settings.perturbed_every == 0:
            return perturbed_loss(model, windows, settings.perturbed_layer, settings.perturbation)
        logits, _ = model(*inputs(windows))
        return masked_loss(logits.float(), *targets(windows))

    train(model, loss_of_step, loop, checkpoint, stop_after=stop_after)
    return model


class _Epochs:
    """The batches of all epochs in order; only one epoch's windows are in memory."""

    def __init__(self, rows: Sequence[Encoded], settings: EncoderSettings) -> None:
        self._rows, self._settings = rows, settings
        self._built: tuple[int, list[Window]] = (-1, [])
        plans = [self._plan(epoch) for epoch in range(settings.epochs)]
        self._plans = plans
        self._starts = [0, *itertools.accumulate(map(len, plans))]
        self.steps = self._starts[-1]

    def batch(self, step: int) -> list[Window]:
        epoch = int(np.searchsorted(self._starts, step, side="right")) - 1
        windows = self._windows(epoch)
        return [windows[index] for index in self._plans[epoch][step - self._starts[epoch]]]

    def _plan(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        lengths = [len(window.ids) for window in self._windows(epoch)]
        return token_batches(lengths, self._settings.batches, self._settings.seed, epoch)

    def _windows(self, epoch: int) -> list[Window]:
        if self._built[0] != epoch:
            self._built = (epoch, epoch_windows(self._rows, self._settings.batches, self._settings.seed, epoch))
        return self._built[1]


def inputs(windows: Sequence[Window]) -> tuple[Tensor, Tensor, Tensor]:
    ids, mask = padded([window.ids for window in windows])
    types, _ = padded([window.types for window in windows])
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(types)


def targets(windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
    labels = np.stack([window.targets for window in windows])
    weights = np.array([window.weight for window in windows], np.float32)
    return torch.from_numpy(labels), torch.from_numpy(weights)


def masked_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy over the known labels only, per row of the batch."""
    known = ~torch.isnan(labels)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
    return (each * known * weights[:, None]).sum() / len(logits)


def perturbed_loss(model: BertClassifier, windows: Sequence[Window], layers: int, share: float) -> Tensor:
    """The loss on the windows, and on the harmful ones again with hidden states moved to where they look harmless."""
    ids, mask, types = inputs(windows)
    labels, weights = targets(windows)
    hidden = model.lower(ids, mask, types, layers)

    def loss(states: Tensor, chosen: Tensor) -> Tensor:
        logits, _ = model.upper(states, mask[chosen], types[chosen], layers)
        return masked_loss(logits.float(), labels[chosen], weights[chosen])

    clean = loss(hidden, torch.arange(len(windows)))
    harmful = torch.nonzero(labels.nan_to_num(0.0).amax(dim=1) > 0.5)[:, 0]
    if not len(harmful):
        return clean
    states = hidden[harmful]
    at = states.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(at, harmful), at)
    away = gradient * (
        states.detach().norm(dim=-1, keepdim=True) / gradient.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    )
    return clean + loss(states + share * away, harmful) * len(harmful) / len(windows)


def score_rows(
    model: BertClassifier, rows: Sequence[Row], tokenizer: Tokenizer, *, bf16: bool = False
) -> npt.NDArray[np.float32]:
    """Probabilities [rows, 4]: the worst over consecutive windows, none of the completion left out."""
    owners, windows = [], []
    for owner, row in enumerate(encode_rows(rows, tokenizer)):
        for window in covering_windows(row):
            owners.append(owner)
            windows.append(window)
    scores = np.zeros((len(rows), len(CATEGORIES)), np.float32)
    np.maximum.at(scores, owners, score_windows(model, windows, bf16=bf16))
    return scores


@torch.inference_mode()
def score_windows(model: BertClassifier, windows: Sequence[Window], *, bf16: bool) -> npt.NDArray[np.float32]:
    scores = np.zeros((len(windows), len(CATEGORIES)), np.float32)
    for batch in token_batches([len(window.ids) for window in windows], BatchSettings(batch_tokens=8192), 0, 0):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, _ = model(*inputs([windows[index] for index in batch]))
        scores[batch] = torch.sigmoid(logits.float()).numpy()
    return scores


def score_sentences(model: BertClassifier, sentences: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """Probabilities of framed sentences, each read alone and without a prompt: what a teacher says of them."""
    empty, nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    windows = [Window(*joined(empty, sentence[1:-1]), nothing, 1.0) for sentence in sentences]
    return score_windows(model, windows, bf16=True)


def covering_windows(row: Encoded) -> list[Window]:
    budget = completion_budget(row.prompt)
    stride = budget - budget // 4
    last = max(0, len(row.completion) - budget)
    starts = sorted({*range(0, last, stride), last})
    pieces = [joined(row.prompt, row.completion[start : start + budget]) for start in starts]
    return [Window(ids, types, row.targets, row.weight) for ids, types in pieces]
