"""Windows: sentences cover a text exactly, and what is packed from them misses nothing and fits the model."""

import time
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from interlock_server.text.windows import cut, pack, split_sentences

PROSE = st.text(st.sampled_from("ab .!?…\"')*_\n\t\r。！é😀\u2003\x1c"))
ENDS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(
    lambda sizes: [sum(sizes[: i + 1]) for i in range(len(sizes))]
)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ('He said "no." She left.', ['He said "no." ', "She left."]),
        ("a line\nanother", ["a line\n", "another"]),
        ("wait ... what", ["wait ... ", "what"]),
        ("3.14 is pi", ["3.14 is pi"]),
        ("二。三！四", ["二。", "三！", "四"]),
        ("\n\nfirst\n\nsecond\n", ["\n\nfirst\n\n", "second\n"]),
        ("no end", ["no end"]),
        (" \n ", [" \n "]),
        ("", [""]),
    ],
)
def test_a_text_splits_where_sentences_end(text: str, expected: list[str]):
    """At closing marks with blanks behind them, and at line breaks."""
    assert expected == sentences(text)


@given(PROSE)
def test_sentences_are_the_whole_text_side_by_side(text: str):
    """Nothing between them, nothing lost, nothing twice."""
    spans = split_sentences(text)

    assert (0, len(text)) == (spans[0][0], spans[-1][1])
    assert all(left[1] == right[0] for left, right in pairwise(spans))


@given(PROSE)
def test_no_sentence_is_blank(text: str):
    """A window of blanks would be a window of nothing."""
    assume(text.strip())

    assert all(sentence.strip() for sentence in sentences(text))


@pytest.mark.parametrize("piece", [" ", ".", "\n", "a. ", ".*", "。", " .", "? ?", "\t\n"])
def test_splitting_takes_time_in_proportion_to_the_text(piece: str):
    """64 KB without a sentence end, and with nothing but; a square in the length would take half a minute."""
    text = "a" + piece * (65_536 // len(piece)) + "a"
    begun_s = time.perf_counter()
    split_sentences(text)

    assert time.perf_counter() - begun_s < 3.0


def test_whole_sentences_share_a_window():
    """As many as fit, and the last one is shared when it is short."""
    assert [(0, 10), (8, 18)] == pack([4, 8, 10, 18], 10)


def test_a_long_sentence_is_cut_at_a_fixed_stride():
    """Three quarters of a window."""
    assert [(0, 8), (6, 14), (12, 20)] == pack([20], 8)


@given(ENDS, st.integers(4, 50))
def test_packed_windows_miss_nothing_and_fit(ends: list[int], size_max: int):
    """They start at 0, end at the end, leave no gap, overlap by a quarter at most, and none is over the size."""
    windows = pack(ends, size_max)

    assert (0, ends[-1]) == (windows[0][0], windows[-1][1])
    assert all(0 <= left[1] - right[0] <= size_max // 4 for left, right in pairwise(windows))
    assert all(0 < end - start <= size_max for start, end in windows)


@given(ENDS, st.integers(4, 50))
def test_packing_goes_on(ends: list[int], size_max: int):
    """Every window starts and ends after the one before, and no unit is in more than two of them."""
    windows = pack(ends, size_max)

    assert all(left[0] < right[0] and left[1] < right[1] for left, right in pairwise(windows))
    assert all(left[1] <= right[0] for left, right in zip(windows, windows[2:], strict=False))


@given(ENDS, st.integers(4, 50))
def test_windows_start_at_sentences(ends: list[int], size_max: int):
    """Except inside a sentence that is longer than a window."""
    bounds = {0, *ends}
    inside_long = {unit for start, end in pairwise([0, *ends]) if end - start > size_max for unit in range(start, end)}

    assert all(start in bounds or start in inside_long for start, _ in pack(ends, size_max))


@given(st.integers(0, 50), st.integers(1, 200), st.integers(4, 50))
def test_cut_pieces_miss_nothing_and_fit(start: int, size: int, size_max: int):
    """Pieces of a long sentence overlap by a quarter and cover it."""
    pieces = cut(start, start + size, size_max, size_max * 3 // 4)

    assert (start, start + size) == (pieces[0][0], pieces[-1][1])
    assert all(left[0] < right[0] <= left[1] < right[1] for left, right in pairwise(pieces))
    assert all(0 < end - begin <= size_max for begin, end in pieces)
