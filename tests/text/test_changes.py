"""Changes: of a later view only what is new is read, with its neighbours, and nothing that is new is left out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.text.changes import changed_parts
from interlock_server.text.views import View, views_of
from interlock_server.text.windows import split_sentences

SENTENCE = st.sampled_from(["one", "two", "three", "Four"]).map(lambda word: f"{word}. ")
TEXT = st.lists(SENTENCE, min_size=1, max_size=8).map("".join)


def view(name: str, text: str) -> View:
    return View(name, text, range(len(text) + 1))


def parts(*texts: str, uncased: bool = True) -> list[str]:
    """What is read of the second and later texts."""
    return [part.text for part in changed_parts([view(str(n), text) for n, text in enumerate(texts)], uncased)[1:]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("One. Two. Three. Four. Five.", "One. Two. 3. Four. Five.", ["Two. 3. Four. "]),
        ("One. Two. Three.", "1. Two. Three.", ["1. Two. "]),
        ("One. Two. Three.", "One. Two. 3.", ["Two. 3."]),
        ("One. Two. Three. Four.", "One. Three. Four.", ["One. Three. "]),  # new neighbours are new
        ("A. B. C. D. E. F.", "A. 2. C. D. 5. F.", ["A. 2. C. ", "D. 5. F."]),
        ("One. Two.", "one.  TWO.", []),
        ("One. Two.", "", []),
        ("One. Two.", "kill him", ["kill him"]),
    ],
)
def test_only_what_is_new_is_read(first: str, second: str, expected: list[str]):
    """With the sentence before and the one after."""
    assert expected == parts(first, second)


def test_what_an_earlier_view_showed_is_not_new():
    """Whichever view that was."""
    assert ["One. 2. Three. ", "Three. 4."] == parts(
        "One. Two. Three. Four.", "One. 2. Three. Four.", "One. 2. Three. 4."
    )


def test_capitals_are_new_to_readers_that_tell_them_apart():
    """And blanks to nobody."""
    assert ["A.  b."] == parts("A. B.", "A.  b.", uncased=False)


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_every_sentence_of_every_view_is_read(texts: list[str]):
    """With the one before it, in one piece."""
    read = " | ".join(part.lower() for part in [texts[0], *parts(*texts)])

    for text in texts:
        spans = split_sentences(text)
        for (start, _), (_, end) in pairwise(spans):
            assert text[start:end].lower().strip() in read


def test_a_part_knows_its_bytes():
    """As the view does that it is a part of."""
    text = "One é. Two. K&#105;ll. Four. Five."
    part = changed_parts(views_of(text).all, True)[-1]
    start, end = part.byte_span(0, len(part.text))

    assert ("two. kill. four. ", "Two. K&#105;ll. Four. ") == (part.text, text.encode()[start:end].decode())
