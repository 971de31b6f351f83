"""What the encoder sees in an epoch: augmented windows in batches of near-equal length, a pure function of the seed.

That is what makes a run resumable: the batch of step n can be built again without replaying the steps before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from interlock_lab.training.rows import Row
from interlock_lab.training.tokens import Ids, completion_budget, ids_of, joined, within_prompt_budget

TRUSTED = ("written", "three votes", "trick")
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    batch_tokens: int = 4096
    prompt_dropped: float = 0.15
    diluted: float = 0.3
    # Half of the diluted texts get up to this much around them, the others up to a full window.
    dilution_tokens_max: int = 90
    written_weight: float = 1.5
    # After so many epochs over everything, the rows with the best labels and a share of the others, drawn anew each time.
    broad_epochs: int = 2
    others_late: float = 0.25
    # A random window of a long harmful text may well miss the harm.
    harmful_window_weight: float = 0.6


@dataclass(frozen=True)
class Encoded:
    prompt: Ids
    completion: Ids
    targets: Floats  # NaN where unknown
    weight: float
    written: bool
    trusted: bool  # labelled by people who read the whole text: written rows and voted passages
    harmful: bool
    padding: bool  # harmless in every head: may be put before or after any other text


@dataclass(frozen=True)
class Window:
    ids: Ids
    types: Ids
    targets: Floats
    weight: float


def encode_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> list[Encoded]:
    prompts = ids_of(tokenizer, [row.prompt for row in rows])
    completions = ids_of(tokenizer, [row.completion for row in rows])
    encoded = []
    for row, prompt, completion in zip(rows, prompts, completions, strict=True):
        targets = np.array([np.nan if value is None else value for value in row.label_vector], np.float32)
        encoded.append(
            Encoded(
                prompt=within_prompt_budget(prompt),
                completion=completion,
                targets=targets,
                weight=row.weight,
                written=row.label_source == "written",
                trusted=row.label_source in TRUSTED,
                harmful=bool(row.harmful_in),
                padding=bool((targets <= 0.05).all()) and row.clarity == "clear",
            )
        )
    return encoded


def epoch_windows(rows: Sequence[Encoded], settings: BatchSettings, seed: int, epoch: int) -> list[Window]:
    random = np.random.default_rng([seed, epoch, 1])
    pool = [row.completion for row in rows if row.padding and len(row.completion)]
    shown = rows if epoch < settings.broad_epochs else _mostly_trusted(rows, settings.others_late, random)
    return [_window(row, pool, settings, random) for row in shown]


def _mostly_trusted(rows: Sequence[Encoded], others: float, random: np.random.Generator) -> list[Encoded]:
    return [row for row in rows if row.trusted or random.random() < others]


def _window(row: Encoded, pool: Sequence[Ids], settings: BatchSettings, random: np.random.Generator) -> Window:
    prompt = row.prompt[:0] if random.random() < settings.prompt_dropped else row.prompt
    completion, weight = row.completion, row.weight * (settings.written_weight if row.written else 1.0)
    budget = completion_budget(prompt)
    if len(completion) > budget:
        start = int(random.integers(0, len(completion) - budget + 1))
        completion = completion[start : start + budget]
        weight *= settings.harmful_window_weight if row.harmful else 1.0
    elif pool and random.random() < settings.diluted:
        completion = _diluted(completion, budget, pool, settings, random)
    ids, types = joined(prompt, completion)
    return Window(ids, types, row.targets, weight)


def _diluted(
    completion: Ids, budget: int, pool: Sequence[Ids], settings: BatchSettings, random: np.random.Generator
) -> Ids:
    """Harmless texts before and after, so that length says nothing, and harm is learned late, early and in passing."""
    room = budget - len(completion)
    if random.random() < 0.5:
        room = min(room, settings.dilution_tokens_max)
    room = int(random.integers(0, room + 1))
    parts = [completion]
    while room > 0:
        extra = pool[int(random.integers(len(pool)))]
        if random.random() < 0.5:
            extra = extra[max(0, len(extra) - room) :]
            parts.insert(0, extra)
        else:
            extra = extra[:room]
            parts.append(extra)
        room -= len(extra)
    return np.concatenate(parts)


def token_batches(
    lengths: Sequence[int], settings: BatchSettings, seed: int, epoch: int
) -> list[npt.NDArray[np.int64]]:
    """Indices per batch; `batch_tokens` counts padding. Jitter keeps batches from being the same every epoch."""
    random = np.random.default_rng([seed, epoch, 2])
    order = np.argsort(np.asarray(lengths) * random.uniform(0.95, 1.05, len(lengths)), kind="stable")
    batches: list[list[int]] = [[]]
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        if batches[-1] and longest * (len(batches[-1]) + 1) > settings.batch_tokens:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(int(index))
    random.shuffle(batches)
    return [np.array(batch) for batch in batches]
