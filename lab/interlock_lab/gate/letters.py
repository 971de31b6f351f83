"""How much each letter surprises after the two before it, in English as the models were taught it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from interlock_server.text.gibberish import LETTER_CLASSES, grams, letters_of

Floats = npt.NDArray[np.float64]

# As if so many more had been seen, spread as one letter less of context has it: no run of letters is impossible.
_ASSUMED = 10.0


def letter_surprise(texts: Iterable[str]) -> Floats:
    """-log P(third | first two), [29, 29, 29], from canonical texts."""
    counts = Counter[str]()
    for text in texts:
        counts.update(grams(letters_of(text)))
    place = {ch: number for number, ch in enumerate(LETTER_CLASSES)}
    seen = np.zeros((len(place),) * 3)
    for gram, count in counts.items():
        seen[tuple(place[ch] for ch in gram)] = count
    alone = seen.sum((0, 1)) + 1.0
    alone /= alone.sum()
    after_one = _mixed(seen.sum(0), alone)
    return np.asarray(-np.log(_mixed(seen, after_one)))


def mean_surprise(texts: Iterable[str], surprise: Floats) -> float:
    """Of all runs of three letters in these texts."""
    place = {ch: number for number, ch in enumerate(LETTER_CLASSES)}
    found = [surprise[tuple(place[ch] for ch in gram)] for text in texts for gram in grams(letters_of(text))]
    return float(np.mean(found))


def _mixed(seen: Floats, less: Floats) -> Floats:
    """Shares of the last letter after those before it, drawn towards those with one letter less of context."""
    return np.asarray((seen + _ASSUMED * less) / (seen.sum(-1, keepdims=True) + _ASSUMED))
