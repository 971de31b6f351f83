"""The member `ngrams`: one linear head per category over the hashed n-grams of a window; the worst window counts.

Full-batch L-BFGS on a smooth maximum over the windows of a text: deterministic, no learning rate to tune.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from interlock_server.backends.ngram_features import BUCKETS, ngram_ids
from interlock_server.text.windows import pack, split_sentences
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags

from interlock_lab.training.rows import CATEGORIES, Row

log = logging.getLogger(__name__)

CHARS_MAX = 400

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NgramSettings:
    ridge: float = 1e-3
    iterations: int = 60
    written_weight: float = 2.0
    # Features count by their inverse document frequency to this power while training: "knife" may weigh more than "the".
    rarity: float = 2.0
    # How sharply the maximum over the windows of a text is taken while training.
    sharpness: float = 2.0
    # A bucket seen in fewer windows keeps weight zero: it would only memorise.
    windows_min: int = 4


@dataclass(frozen=True)
class NgramModel:
    weights: npt.NDArray[np.float16]
    bias: npt.NDArray[np.float32]

    def logits(self, text: str) -> Floats:
        weights = self.weights.astype(np.float64)
        found = [weights[ngram_ids(window)].sum(axis=0) for window in windows_of(text)]
        return np.asarray(np.max(found, axis=0) + self.bias)

    def score_rows(self, rows: Sequence[Row]) -> Floats:
        weights = self.weights.astype(np.float64)
        windows = _Windows.of(rows)
        logits = np.asarray(windows.features @ weights) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.maximum.reduceat(logits, windows.starts))))

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, weights=self.weights, bias=self.bias)


def windows_of(text: str) -> list[str]:
    return [text[first:last] for first, last in pack([end for _, end in split_sentences(text)], CHARS_MAX)]


def fit(rows: Sequence[Row], settings: NgramSettings) -> NgramModel:
    windows = _Windows.of(rows)
    counts = np.asarray(windows.features.getnnz(axis=0))
    common = counts >= settings.windows_min
    frequency = np.log((1 + windows.features.shape[0]) / (1 + counts[common])) + 1
    scale = (frequency / frequency.mean()) ** settings.rarity
    features = csr_matrix(windows.features[:, common] @ diags(scale.astype(np.float32)))
    log.info("ngrams: %d windows, %d buckets in use", features.shape[0], features.shape[1])
    weights = np.zeros((BUCKETS, len(CATEGORIES)), np.float16)
    bias = np.zeros(len(CATEGORIES), np.float32)
    for place, name in enumerate(CATEGORIES):
        if all(row.labels[name] is None for row in rows):
            log.warning("ngrams: NO LABELS for %s, its head stays zero", name)
            continue
        solution = _fit_head(features, windows.starts, rows, name, settings)
        weights[common, place], bias[place] = (solution[:-1] * scale).astype(np.float16), solution[-1]
        log.info("ngrams: %s fitted", name)
    return NgramModel(weights, bias)


@dataclass(frozen=True)
class _Windows:
    features: csr_matrix
    starts: npt.NDArray[np.int64]  # the first window of each row

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Windows:
        found: list[npt.NDArray[np.int32]] = []
        starts = []
        for row in rows:
            starts.append(len(found))
            found.extend(ngram_ids(window).astype(np.int32) for window in windows_of(row.completion))
        ends = np.cumsum([0, *map(len, found)])
        ids = np.concatenate(found)
        shape = (len(found), BUCKETS)
        return cls(csr_matrix((np.ones(len(ids), np.float32), ids, ends), shape=shape), np.array(starts))


def _fit_head(
    features: csr_matrix, starts: npt.NDArray[np.int64], rows: Sequence[Row], name: str, settings: NgramSettings
) -> Floats:
    known = np.array([row.labels[name] is not None for row in rows])
    labels = np.array([row.labels[name] or 0.0 for row in rows])
    written = np.array([settings.written_weight if row.label_source == "written" else 1.0 for row in rows])
    weights = known * written * np.array([row.weight for row in rows])
    owners = np.repeat(np.arange(len(rows)), np.diff([*starts, features.shape[0]]))
    keep = known[owners]
    problem = _Problem(csr_matrix(features[keep]), owners[keep], labels, weights / weights.sum(), settings)
    start = np.zeros(features.shape[1] + 1)
    solution = minimize(problem.value, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.iterations})
    return np.asarray(solution.x)


class _Problem:
    """Weighted cross-entropy of the smooth maximum over each row's windows, with a ridge on the weights."""

    def __init__(
        self,
        features: csr_matrix,
        owners: npt.NDArray[np.int64],
        labels: Floats,
        weights: Floats,
        settings: NgramSettings,
    ) -> None:
        self._features, self._transposed = features, csr_matrix(features.T)
        _, self._owners = np.unique(owners, return_inverse=True)
        rows = np.unique(owners)
        self._labels, self._weights = labels[rows], weights[rows]
        self._starts = np.searchsorted(self._owners, np.arange(len(rows)))
        self._ridge, self._sharpness = settings.ridge, settings.sharpness

    def value(self, parameters: Floats) -> tuple[float, Floats]:
        window_logits = self._features @ parameters[:-1]
        sharp = self._sharpness * window_logits
        largest = np.maximum.reduceat(sharp, self._starts)
        shares = np.exp(sharp - largest[self._owners])
        totals = np.add.reduceat(shares, self._starts)
        shares /= totals[self._owners]
        counts = np.diff([*self._starts, len(window_logits)])
        logits = (largest + np.log(totals / counts)) / self._sharpness + parameters[-1]
        loss = np.logaddexp(0, logits) - self._labels * logits
        slope = (1 / (1 + np.exp(-logits)) - self._labels) * self._weights
        gradient = self._transposed @ (slope[self._owners] * shares) + self._ridge * parameters[:-1]
        penalty = self._ridge / 2 * float(parameters[:-1] @ parameters[:-1])
        return float(loss @ self._weights) + penalty, np.append(gradient, slope.sum())


def load(path: Path) -> NgramModel:
    with np.load(path, allow_pickle=False) as arrays:
        return NgramModel(arrays["weights"], arrays["bias"])


def summary(model: NgramModel) -> dict[str, Any]:
    return {"buckets_used": int((model.weights != 0).any(axis=1).sum()), "bias": model.bias.tolist()}
