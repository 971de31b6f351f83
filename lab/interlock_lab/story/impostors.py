"""Models without the mechanism that stories claim, built anew for each check. A check that does not refute them shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from interlock_lab.story.checks import Scores
from interlock_lab.story.cues import words_of
from interlock_lab.story.material import Material
from interlock_lab.training import ngrams
from interlock_lab.training.rows import CATEGORIES, Row, hash_unit

FIT_ROWS_MAX = 2_500
GUESS = 1e-3

Scorer = Callable[[Sequence[Row]], Sequence[Scores]]


def keyword(material: Material) -> Scorer:
    """Adds up the telling words of a text, and where there are none it guesses."""

    def score(row: Row) -> Scores:
        words = words_of(row.completion)
        guess = GUESS * hash_unit(f"guess:{row.completion}")
        return {
            category: float(expit(sum(odds for word, odds in telling.items() if word in words) + guess))
            for category, telling in material.telling.items()
        }

    return lambda rows: [score(row) for row in rows]


def shuffled(material: Material) -> Scorer:
    """A real model, trained as `ngrams` is, on labels that were dealt out at random."""
    return scorer_of(trained(with_shuffled_labels(material.fit[:FIT_ROWS_MAX]), iterations=30))


def trained(rows: Sequence[Row], iterations: int = ngrams.NgramSettings.iterations) -> ngrams.NgramModel:
    """What the member `ngrams` would be if these had been its rows."""
    with threadpool_limits(1):  # the vectors are short: threads would only wait for each other
        return ngrams.fit(rows, ngrams.NgramSettings(iterations=iterations))


def with_shuffled_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with each other's labels."""
    order = np.random.default_rng(0).permutation(len(rows))
    return [replace(row, labels=rows[place].labels) for row, place in zip(rows, order.tolist(), strict=True)]


def scorer_of(model: ngrams.NgramModel) -> Scorer:
    """Its scores by category."""
    return lambda rows: [dict(zip(CATEGORIES, row, strict=True)) for row in model.score_rows(rows).tolist()]


IMPOSTORS: Mapping[str, Callable[[Material], Scorer]] = {"keyword": keyword, "shuffled": shuffled}
