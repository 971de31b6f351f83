"""The corpora: sizes as stated, the same again, nothing twice."""

from statistics import fmean

import pytest
from texts import CYCLE, MIXED_BYTES, corpus


@pytest.mark.parametrize(("kind", "size"), [("fixed", 600), ("4KB", 4096), ("16KB", 16384)])
def test_fixed_sizes_are_met_to_a_word(kind: str, size: int):
    """Never above, less than a word below."""
    sizes = [len(text.completion.encode()) for text in corpus(kind, 50)]

    assert size - 20 < min(sizes) <= max(sizes) <= size


def test_mixed_sizes_are_log_normal_within_their_bounds():
    """Most are short, and the mean is near 280 bytes."""
    sizes = [len(text.completion) for text in corpus("mixed", CYCLE)]

    assert MIXED_BYTES[0] - 20 < min(sizes) <= max(sizes) <= MIXED_BYTES[1]
    assert pytest.approx(280, rel=0.1) == fmean(sizes)


def test_no_sentence_helps_a_cache():
    """Of a thousand texts all differ, and so do nearly all long sentences."""
    texts = corpus("mixed", 1000)
    sentences = [part for text in texts for part in text.completion.split(". ") if len(part) > 60]

    assert 1000 == len(set(texts))
    assert len(set(sentences)) > 0.9 * len(sentences)


def test_sizes_are_kept_while_words_change():
    """So that service times measured with one salt stand for another, and for later rounds of the cycle."""
    here, there = corpus("mixed", 2 * CYCLE, "here"), corpus("mixed", CYCLE, "there")
    gaps = [abs(len(a.completion) - len(b.completion)) for a, b in zip(here, there + there, strict=True)]

    assert set(here).isdisjoint(there)
    assert 20 > max(gaps)
