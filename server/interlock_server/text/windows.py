"""Pieces of a text that fit a model: runs of whole sentences, overlapping, nothing cut off. Sizes are tokens or characters."""

import re
from bisect import bisect_right
from collections.abc import Sequence

# A sentence ends after its closing marks and the blanks behind them, or at a line break. Each alternative begins at the
# first character of its run and gives nothing back (`++`), or 60,000 dots or blanks would take the square of the time.
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+\s+|[。！？]++\s*|(?<!\s)\s*\n\s*")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences, in order, side by side, together the whole text; no span is blank only."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if not ends or ends[-1] != len(text):
        ends.append(len(text))
    spans: list[tuple[int, int]] = []
    start = 0
    for end in ends:
        if text[start:end].strip():
            spans.append((start, end))
            start = end
    if spans and start < len(text):  # blanks at the very end belong to the last sentence
        spans[-1] = (spans[-1][0], len(text))
    return spans or [(0, len(text))]


def pack(ends: Sequence[int], size_max: int) -> list[tuple[int, int]]:
    """Windows [start, end) of at most `size_max` units over units 0..ends[-1], cut at sentence ends where possible.

    `ends` are the positions at which sentences end, increasing. Neighbours share their last sentence when it is no
    longer than a quarter of a window; a sentence longer than a window is cut at a fixed stride of three quarters.
    """
    total = ends[-1]
    overlap_max = size_max // 4
    windows: list[tuple[int, int]] = []
    start = 0
    while True:
        fits = bisect_right(ends, start + size_max) - 1
        whole = fits >= 0 and ends[fits] > start
        end = ends[fits] if whole else start + size_max
        windows.append((start, end))
        if end >= total:
            return windows
        start = _next_start(ends, fits, end, size_max) if whole else end - overlap_max


def _next_start(ends: Sequence[int], fits: int, end: int, size_max: int) -> int:
    """The start of the last sentence, if the next window can hold it and at least one sentence more; else the end."""
    shared = ends[fits - 1] if fits > 0 else 0
    return shared if end - shared <= size_max // 4 and ends[fits + 1] - shared <= size_max else end


def cut(start: int, end: int, size_max: int, stride: int) -> list[tuple[int, int]]:
    """Pieces of [start, end) of at most `size_max`, each beginning `stride` after the one before."""
    pieces = [(start, min(start + size_max, end))]
    while pieces[-1][1] < end:
        begin = pieces[-1][0] + stride
        pieces.append((begin, min(begin + size_max, end)))
    return pieces
