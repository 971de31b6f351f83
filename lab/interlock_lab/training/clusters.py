"""Which rows are not independent of each other: connected components over shared keys and near-duplicate texts.

Linear in the number of rows. The name of a cluster is its smallest key, so that adding rows seldom moves one to
another split.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from interlock_lab.training.rows import Row

SHINGLE_WORDS = 4
BANDS = 4
HASHES_PER_BAND = 4
# Below this many words a text has too few shingles for an estimate; only equal texts count as duplicates then.
WORDS_MIN = 12
# "I do not know" joins nothing: short replies are equal by chance.
EXACT_WORDS_MIN = 6
_PRIME = np.uint64((1 << 61) - 1)
_WORDS = re.compile(r"[a-z0-9]+")
_REFUSAL = re.compile(
    r"\b(i'?m (very |really )?sorry|i (apologi[sz]e|cannot|can'?t|am (not able|unable))|as an ai)\b", re.I
)


def assign_clusters(rows: Sequence[Row]) -> list[Row]:
    """Fills in `cluster`. Refusals are linked by their question only: they all look alike."""
    union = UnionFind(len(rows))
    first_with: dict[str, int] = {}
    for index, row in enumerate(rows):
        for key in (*row.keys, *near_duplicate_keys(row.completion)):
            union.join(first_with.setdefault(key, index), index)
    names: dict[int, str] = {}
    for index, row in enumerate(rows):
        name = min(row.keys, default=row.id)
        root = union.root(index)
        names[root] = min(names.get(root, name), name)
    return [replace(row, cluster=names[union.root(index)]) for index, row in enumerate(rows)]


def largest_clusters(rows: Iterable[Row], count: int = 5) -> list[tuple[str, int]]:
    return Counter(row.cluster for row in rows).most_common(count)


class UnionFind:
    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, left: int, right: int) -> None:
        left, right = self.root(left), self.root(right)
        self._parent[max(left, right)] = min(left, right)


def normalised(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower()))


def is_refusal(text: str) -> bool:
    return bool(_REFUSAL.search(text[:200]))


def near_duplicate_keys(text: str) -> list[str]:
    """Texts that share a key are equal but for case and punctuation, or share most of their four-word runs."""
    if is_refusal(text):
        return []
    words = normalised(text).split()
    exact = [f"text:{_digest(' '.join(words))}"] if len(words) >= EXACT_WORDS_MIN else []
    if len(words) < WORDS_MIN:
        return exact
    shingles = {_number(" ".join(words[i : i + SHINGLE_WORDS])) for i in range(len(words) - SHINGLE_WORDS + 1)}
    signature = _minhash(np.fromiter(shingles, np.uint64))
    bands = signature.reshape(BANDS, HASHES_PER_BAND)
    return exact + [f"band{i}:{_digest(band.tobytes().hex())}" for i, band in enumerate(bands)]


def drop_near(rows: Sequence[Row], forbidden_texts: Iterable[str]) -> tuple[list[Row], list[Row]]:
    """(kept, dropped): drops every row whose completion is a near-duplicate of a forbidden text."""
    forbidden = {key for text in forbidden_texts for key in (*near_duplicate_keys(text), _whole(text))}
    kept: dict[bool, list[Row]] = defaultdict(list)
    for row in rows:
        near = not forbidden.isdisjoint((*near_duplicate_keys(row.completion), _whole(row.completion)))
        kept[near].append(row)
    return kept[False], kept[True]


def _whole(text: str) -> str:
    return f"whole:{_digest(normalised(text))}"


def _minhash(shingles: np.ndarray) -> np.ndarray:
    mixed = shingles[:, None] * _MULTIPLIERS[None, :] + _OFFSETS[None, :]  # wraps around: that is the hash
    mixed ^= mixed >> np.uint64(29)
    return np.asarray((mixed % _PRIME).min(axis=0))


def _constants(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed).integers(1, 2**63, BANDS * HASHES_PER_BAND, dtype=np.uint64)
    return draw | np.uint64(1)


_MULTIPLIERS, _OFFSETS = _constants(11), _constants(12)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
