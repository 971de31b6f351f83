"""Text -> ids of the hashed n-grams that occur in it: bytes 3 to 5 at a time, words 1 and 2 at a time, presence only.

Lab and server share this file, and trained weights depend on every constant in it: changing one voids all bundles.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2**18
BYTE_ORDERS = (3, 4, 5)
WORD_ORDERS = (1, 2)

Hashes = NDArray[np.uint64]

_SHIFT = np.uint64(64 - 18)
_FOLD = np.uint64(32)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, hence invertible modulo 2**64
_BASE_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_WORD_SALT = np.uint64(0xA0761D6478BD642F)
_PAIR_SALT = np.uint64(0xE7037ED1A0B428DB)
# ASCII letters only: the case tables of Unicode differ between versions of Python, and weights must not.
_IN_WORD = np.array([chr(b).isalnum() if b < 128 else True for b in range(256)])


def ngram_ids(text: str) -> NDArray[np.int64]:
    """Increasing bucket numbers, each once. Blanks count as one space, and one is assumed at either end."""
    words = text.encode("utf-8", "surrogatepass").lower().split()
    if not words:
        return np.zeros(0, np.int64)
    text_bytes = np.frombuffer(b" " + b" ".join(words) + b" ", np.uint8)
    hashes = np.concatenate([*_byte_ngrams(text_bytes), *_word_ngrams(text_bytes)])
    return _distinct_buckets(hashes)


def _byte_ngrams(text_bytes: NDArray[np.uint8]) -> list[Hashes]:
    """Order n + 1 from order n by one step of a polynomial hash."""
    values = text_bytes.astype(np.uint64) + np.uint64(1)
    rolling, found = values, []
    for order in range(2, BYTE_ORDERS[-1] + 1):
        rolling = rolling[:-1] * _BASE + values[order - 1 :]
        if order in BYTE_ORDERS:
            found.append(rolling)
    return found


def _word_ngrams(text_bytes: NDArray[np.uint8]) -> list[Hashes]:
    """Words by differences of prefix sums: sum of byte[i] * base**i, moved back to the word's start by the inverse."""
    inside = _IN_WORD[text_bytes]
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # a space stands at either end: starts and ends alternate
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return []
    powers, inverses = _powers(1 << (len(text_bytes) - 1).bit_length())
    prefix = np.zeros(len(text_bytes) + 1, np.uint64)
    np.cumsum((text_bytes.astype(np.uint64) + np.uint64(1)) * powers[: len(text_bytes)], out=prefix[1:])
    words = (prefix[ends] - prefix[starts]) * inverses[starts] * _WORD_SALT
    pairs = (words[:-1] ^ (words[:-1] >> _FOLD)) * _PAIR_SALT + words[1:]
    return [words, pairs]


@lru_cache(maxsize=20)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """base**i and its inverse for i < size."""
    factors = np.full((2, size), np.uint64(1))
    factors[0, 1:], factors[1, 1:] = _BASE, _BASE_INVERSE
    powers, inverses = np.multiply.accumulate(factors, axis=1)
    return powers, inverses


def _distinct_buckets(hashes: Hashes) -> NDArray[np.int64]:
    mixed = (hashes ^ (hashes >> _FOLD)) * _MIX
    buckets = ((mixed ^ (mixed >> _FOLD)) * _MIX >> _SHIFT).astype(np.int32)
    buckets.sort()
    first = np.concatenate([[True], buckets[1:] != buckets[:-1]])
    distinct: NDArray[np.int64] = buckets[first].astype(np.int64)
    return distinct
