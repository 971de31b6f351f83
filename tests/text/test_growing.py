"""A completion while it is being written: parts, chapters, and what may be shown."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.text.growing import CHAPTER_BYTES, STEP_BYTES, GrowingText, Part
from interlock_server.text.windows import split_sentences


def grown_parts(chunks: list[bytes]) -> int:
    """How many parts are judged of these chunks."""
    text, parts = GrowingText(1 << 20, 0), 0
    for chunk in chunks:
        text.add(chunk)
        while (part := text.part()) is not None:
            text.clear(part)
            parts += 1
    return parts


PIECES = st.lists(
    st.sampled_from(["Tea. ", "She sat!\n", "né", " ", "…", "。", "x" * 90 + " ", "\n\n", "“Go.” ", "🙂"])
)


def grown(chunks: list[bytes], hold_back: int = 0) -> GrowingText:
    """A text after these chunks, all parts of which were cleared as they came."""
    text = GrowingText(1 << 20, hold_back)
    for chunk in chunks:
        text.add(chunk)
        while (part := text.part()) is not None:
            text.clear(part)
    return text


def test_a_sentence_is_judged_once_the_next_one_begins() -> None:
    """Until then it may go on: the dot may be that of "e.g."."""
    text = GrowingText(1 << 20, 0)
    text.add(b"She sat by the window. ")
    text.add(b"It rained. ")
    before = text.part()
    text.add(b"H")

    assert (None, Part(0, 34)) == (before, text.part())


def test_lines_of_a_word_are_judged_together() -> None:
    """Else each would cost what a sentence costs."""
    text = grown_parts([b"- a\n"] * 60 + [b"x"])

    assert text <= 60 * 4 // STEP_BYTES


def test_a_doubted_part_is_not_taken_for_cleared() -> None:
    """What comes after it is judged with all of it, however long it was."""
    text = GrowingText(1 << 20, 0)
    text.add(b"She sat by the window. " * 450 + b"H")
    part = text.part()
    assert part is not None
    text.doubt(part)
    text.add(b"e sat down by the door, and she did not look up. H")
    later = text.part()

    assert (0, 0) == (text.released, later.start if later else -1)


def test_what_is_held_back_is_shown_at_the_end_of_a_sentence_only() -> None:
    """Ten judged bytes stay in: of three sentences of nine bytes, two are held."""
    text = grown([b"One two. Six ten. Two one. x"], hold_back=10)

    assert 9 == text.released


def test_the_end_is_judged_whole_and_releases_everything() -> None:
    """Also what is held back, and a sentence without an end."""
    text = grown([b"One two. And so"], hold_back=100)
    text.end()
    part = text.part()
    assert part is not None
    text.clear(part)

    assert (Part(0, 15, whole=True), 15) == (part, text.released)


def test_the_digest_is_that_of_what_may_be_shown() -> None:
    """A caller compares it with what he has."""
    text = grown([b"One two. Six ten. Two one. x"])

    assert hashlib.sha256(b"One two. Six ten. Two one. ").digest() == text.released_sha256


@given(pieces=PIECES, cuts=st.lists(st.integers(0, 2_000), max_size=20))
def test_sentences_are_the_same_however_the_text_is_cut(pieces: list[str], cuts: list[int]) -> None:
    """Also within characters: parts end where sentences of the whole text end."""
    raw = "".join(pieces).encode()
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    text = GrowingText(1 << 20, 0)
    ends = set()
    for start, end in pairwise(places):
        text.add(raw[start:end])
        part = text.part()
        if part is not None:
            ends.add(part.end)
            text.clear(part)
    whole = {len(raw.decode()[:end].encode()) for _, end in split_sentences(raw.decode())}

    assert ends <= whole


@given(sizes=st.lists(st.integers(2, 3_000), min_size=1, max_size=40))
def test_a_part_begins_a_chapter_before_what_is_new_and_not_much_earlier(sizes: list[int]) -> None:
    """So no part grows with the text, and no sentence is read without what led up to it."""
    text = GrowingText(1 << 20, 0)
    judged = 0
    for size in sizes:
        text.add(b"x" * (size - 1) + b". y"[:1] + b"\n" + b"y")
        part = text.part()
        if part is None:  # there is too little new
            continue
        assert part.start == 0 or CHAPTER_BYTES <= judged - part.start <= 2 * CHAPTER_BYTES + 2 * max(sizes) + 4
        text.clear(part)
        judged = part.end


@pytest.mark.parametrize("chunks", [[b"\xff"], [b"a\xc3", b"("], [b"\xf0\x9f"]])
def test_broken_utf8_makes_it_unreadable(chunks: list[bytes]) -> None:
    """Also a character that never ends."""
    text = GrowingText(1 << 20, 0)
    for chunk in chunks:
        text.add(chunk)
    text.end()

    assert text.unreadable


def test_more_than_the_limit_is_too_long() -> None:
    """Nothing of the chunk that goes beyond it is taken."""
    text = GrowingText(8, 0)
    text.add(b"She sat. ")

    assert (True, 0) == (text.too_long, len(text))


def test_an_endless_sentence_byte_by_byte_is_looked_at_a_few_times_only() -> None:
    """Looking at all of it with every byte would take the square of the time: this would be 4 GB of looking."""
    text = GrowingText(1 << 16, 0)
    looked = 0
    split = text._split

    def counted() -> None:
        nonlocal looked
        looked += len(text._open) + text._fresh_size
        split()

    text._split = counted  # type: ignore[method-assign]
    for _ in range(1 << 16):
        text.add(b".")

    assert looked < 64 * 16 * (1 << 16)
