"""Linear members over hashed n-grams: presence per window, not normalised, so that what an edit can do is computable."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, Run, Window, logistic
from interlock_server.backends.cutting import character_windows, views_to_read
from interlock_server.backends.ngram_features import BUCKETS, ngram_ids
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange


class LinearBackend:
    """Weights [buckets, categories] and a bias [categories] from an .npz; raises BackendError on any other shape."""

    provider = "numpy"
    lane = "cpu"
    batching = BatchRule(size_max=64, spread_max=float("inf"))

    def __init__(self, member: MemberManifest, files: Mapping[str, Path]) -> None:
        self._reads = member.reads
        try:
            with files["model"].open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                self._weights = np.asarray(arrays["weights"], dtype=np.float32)
                self._bias = np.asarray(arrays["bias"], dtype=np.float64)
        except Exception as error:  # a damaged archive may raise anything, also of zipfile and zlib
            raise BackendError(
                f"member {member.name}: {files['model'].name} does not load: {type(error).__name__}"
            ) from error
        if self._weights.shape != (BUCKETS, len(member.categories)) or self._bias.shape != (len(member.categories),):
            raise BackendError(f"member {member.name}: weights have shape {self._weights.shape}")

    def read(self, exchange: Exchange) -> Reading:
        """Runs of whole sentences of the completion, as sets of hashed n-grams."""
        uncased = self._reads.uncased and exchange.completion.isascii()  # n-grams fold the case of ASCII only
        views = views_to_read(exchange, self._reads.views, uncased)
        return character_windows(views, ngram_ids, self._reads.chars_max)

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """The logistic of the sum of the weights of the n-grams that are present."""
        logits = np.stack([self._weights[window.ids].sum(axis=0, dtype=np.float64) for window in windows]) + self._bias
        return logistic(logits)

    def close(self) -> None:
        """Nothing to free."""
