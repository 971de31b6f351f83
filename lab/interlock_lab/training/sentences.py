"""The member `sentences`: scores one sentence at a time, and a completion by its worst sentence.

A small convolutional net over frozen-in MiniLM word vectors, trained on whole completions: the label of a completion
is explained by its worst sentence (multiple-instance learning), and a teacher may say which sentence that is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from interlock_server.text.windows import cut, split_sentences
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from interlock_lab.training.encoder import masked_loss
from interlock_lab.training.loop import LoopSettings, train
from interlock_lab.training.rows import CATEGORIES, Row
from interlock_lab.training.tokens import CLS, SEP, Ids, padded

log = logging.getLogger(__name__)

TOKENS_MAX = 64
Teacher = Callable[[Sequence[Ids]], npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class SentenceSettings:
    epochs: int = 4
    learning_rate: float = 1.5e-3
    width: int = 128
    channels: int = 128
    kernel_sizes: tuple[int, ...] = (1, 2, 3, 4, 5)
    dropout: float = 0.3
    word_dropout: float = 0.05
    batch_sentences: int = 512
    sharpness: float = 2.0
    teacher_weight: float = 0.7
    written_weight: float = 3.0
    # Of a text longer than this, as many sentences as this, drawn anew each epoch.
    sentences_max: int = 24
    seed: int = 0


class SentenceNet(nn.Module):
    """ids and mask [batch, length] -> logits [batch, 4]; padding cannot change a score."""

    def __init__(self, vocabulary: int, settings: SentenceSettings) -> None:
        super().__init__()
        self._kernel_sizes = settings.kernel_sizes
        self.embedding = nn.Embedding(vocabulary, settings.width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(settings.width, settings.channels, size) for size in settings.kernel_sizes
        )
        self.dropout = nn.Dropout(settings.dropout)
        found = settings.channels * len(settings.kernel_sizes)
        self.inner = nn.Linear(found, settings.channels)
        self.head = nn.Linear(settings.channels, len(CATEGORIES))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.to(torch.float32)[:, None, :]
        hidden = self.dropout(self.embedding(input_ids)).transpose(1, 2) * mask
        sizes = self._kernel_sizes
        pooled = [
            _largest(part(_padded_by(hidden, s - 1)), mask) for part, s in zip(self.convolutions, sizes, strict=True)
        ]
        inner = torch.relu(self.inner(self.dropout(torch.cat(pooled, dim=1))))
        logits: Tensor = self.head(self.dropout(inner))
        return logits


def _padded_by(hidden: Tensor, reach: int) -> Tensor:
    """Zeros after the last token, so that a window starts at every token."""
    return nn.functional.pad(hidden, (0, reach))


def _largest(responses: Tensor, mask: Tensor) -> Tensor:
    return (torch.relu(responses) * mask).amax(dim=2)


@dataclass(frozen=True)
class Bag:
    """A completion as its sentences' token ids, with what is known about the whole and, from a teacher, about each."""

    sentences: list[Ids]
    targets: npt.NDArray[np.float32]
    weight: float
    taught: npt.NDArray[np.float32] | None = None


def reduced_embeddings(words: Tensor, width: int) -> Tensor:
    """The word vectors' first principal components, scaled to unit variance over all."""
    centred = words - words.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    reduced = centred @ vectors[:, values.argsort(descending=True)[:width]]
    scaled: Tensor = reduced / reduced.std()
    return scaled


def sentence_ids(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[Ids]]:
    """Per text: [CLS] sentence [SEP] each, a long sentence as overlapping pieces. Exactly what the server shows."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [_framed_pieces(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]


def _framed_pieces(text: str, encoding: Encoding) -> list[Ids]:
    token_starts = [start for start, _ in encoding.offsets]
    if not token_starts:
        return []
    token_starts[0] = 0
    ends = np.searchsorted(token_starts, [end for _, end in split_sentences(text)])
    size_max = TOKENS_MAX - 2
    pieces = []
    for first, last in pairwise([0, *(int(end) for end in ends)]):
        if last > first:
            pieces.extend(cut(first, last, size_max, size_max * 3 // 4))
    return [np.array([CLS, *encoding.ids[first:last], SEP], np.int32) for first, last in pieces]


def bags_of(rows: Sequence[Row], tokenizer: Tokenizer, settings: SentenceSettings) -> list[Bag]:
    bags = []
    for row, sentences in zip(rows, sentence_ids([row.completion for row in rows], tokenizer), strict=True):
        if sentences:
            targets = np.array([np.nan if value is None else value for value in row.label_vector], np.float32)
            weight = row.weight * (settings.written_weight if row.label_source == "written" else 1.0)
            bags.append(Bag(sentences, targets, weight))
    return bags


def taught_by(bags: Sequence[Bag], teacher: Teacher) -> list[Bag]:
    scores = teacher([sentence for bag in bags for sentence in bag.sentences])
    ends = np.cumsum([0, *(len(bag.sentences) for bag in bags)])
    spans = zip(bags, pairwise(ends), strict=True)
    return [Bag(bag.sentences, bag.targets, bag.weight, scores[first:last]) for bag, (first, last) in spans]


def fit(
    bags: Sequence[Bag],
    words: Tensor,
    settings: SentenceSettings,
    checkpoint: Path,
    *,
    stop_after: int | None = None,
) -> SentenceNet:
    torch.manual_seed(settings.seed)
    model = SentenceNet(words.shape[0], settings)
    with torch.no_grad():
        model.embedding.weight.copy_(reduced_embeddings(words, settings.width))
    plans = [plan for epoch in range(settings.epochs) for plan in _plan(bags, settings, epoch)]
    log.info("sentences: %d texts, %d steps", len(bags), len(plans))
    loop = LoopSettings(steps=len(plans), learning_rate=settings.learning_rate, seed=settings.seed, weight_decay=0.02)
    train(model, lambda step: _loss(model, plans[step], settings, step), loop, checkpoint, stop_after=stop_after)
    return model


def _plan(bags: Sequence[Bag], settings: SentenceSettings, epoch: int) -> list[list[Bag]]:
    """Bags in batches of about `batch_sentences` sentences, of similar length so that little is padding."""
    random = np.random.default_rng([settings.seed, epoch])
    drawn = [_drawn(bag, settings.sentences_max, random) for bag in bags]
    longest = np.array([max(map(len, bag.sentences)) for bag in drawn]) * random.uniform(0.7, 1.3, len(drawn))
    batches: list[list[Bag]] = [[]]
    for index in np.argsort(longest):
        if batches[-1] and sum(len(bag.sentences) for bag in batches[-1]) >= settings.batch_sentences:
            batches.append([])
        batches[-1].append(drawn[index])
    random.shuffle(batches)
    return batches


def _drawn(bag: Bag, count_max: int, random: np.random.Generator) -> Bag:
    if len(bag.sentences) <= count_max:
        return bag
    chosen = np.sort(random.choice(len(bag.sentences), count_max, replace=False))
    taught = None if bag.taught is None else bag.taught[chosen]
    return Bag([bag.sentences[index] for index in chosen], bag.targets, bag.weight, taught)


def _loss(model: SentenceNet, batch: Sequence[Bag], settings: SentenceSettings, step: int) -> Tensor:
    ids, mask = padded([sentence for bag in batch for sentence in bag.sentences])
    dropped = np.random.default_rng([settings.seed, step]).random(ids.shape) < settings.word_dropout
    logits = model(torch.from_numpy(np.where(dropped, 0, ids)), torch.from_numpy(mask))
    counts = [len(bag.sentences) for bag in batch]
    worst = torch.stack([_smooth_maximum(part, settings.sharpness) for part in logits.split(counts)])
    targets = torch.from_numpy(np.stack([bag.targets for bag in batch]))
    weights = torch.tensor([bag.weight for bag in batch])
    loss = masked_loss(worst, targets, weights)
    if batch[0].taught is None:
        return loss
    taught = torch.from_numpy(np.concatenate([bag.taught for bag in batch if bag.taught is not None]))
    return loss + settings.teacher_weight * masked_loss(logits, taught, torch.ones(len(logits)))


def _smooth_maximum(logits: Tensor, sharpness: float) -> Tensor:
    """Between mean and maximum, so that every sentence of a harmful text gets some gradient."""
    smooth: Tensor = (torch.logsumexp(sharpness * logits, dim=0) - math.log(len(logits))) / sharpness
    return smooth


@torch.inference_mode()
def score_rows(model: SentenceNet, rows: Sequence[Row], tokenizer: Tokenizer) -> npt.NDArray[np.float32]:
    """Probabilities [rows, 4], worst sentence first; a text without tokens scores zero here, the server withholds it."""
    scores = np.zeros((len(rows), len(CATEGORIES)), np.float32)
    for place, sentences in enumerate(sentence_ids([row.completion for row in rows], tokenizer)):
        if sentences:
            ids, mask = padded(sentences)
            logits = model(torch.from_numpy(ids), torch.from_numpy(mask))
            scores[place] = torch.sigmoid(logits).amax(dim=0).numpy()
    return scores
