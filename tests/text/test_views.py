"""Views: what the raw and the canonical reading show, where each byte of them comes from, and what reading costs."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interlock_server.text.confusables import CONFUSABLES
from interlock_server.text.views import canonicalise, views_of

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\u2066\u2069\u200f\u180e\ufe0f\U000e0041"
LOOKALIKES: dict[str, list[str]] = {}
for _place, _letter in CONFUSABLES.items():
    LOOKALIKES.setdefault(_letter, []).append(chr(_place))

# Every script, and many of the characters that matter here.
TRICKY = st.text(
    st.one_of(st.characters(), st.sampled_from(INVISIBLE + "aаeеoоzз .-_*\t\n\r\x1f\x85。İßﬃ①\u0301\u05b0한"))
)
LETTER = st.sampled_from("abcdefgh")


def canonical(text: str) -> str:
    return canonicalise(text)[0]


def test_the_raw_view_of_ascii_has_a_byte_for_each_character():
    """In ASCII, characters are bytes."""
    raw = views_of("abc")[0]

    assert ("raw", "abc", [0, 1, 2, 3]) == (raw.name, raw.text, list(raw.offsets))


def test_the_raw_view_counts_the_bytes_of_wide_characters():
    """Characters of one to four bytes."""
    raw = views_of("aé한😀")[0]

    assert [0, 1, 3, 6, 10] == list(raw.offsets)


@given(TRICKY)
def test_raw_offsets_are_those_of_the_encoder(text: str):
    """Whatever the text, a span of the raw view is the bytes of its characters."""
    raw = views_of(text)[0]
    half = len(text) // 2

    assert (
        text[half:].encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass")[raw.byte_offset(half) :]
    )


def test_a_text_that_is_canonical_has_one_view():
    """No view is made that shows the same."""
    assert ["raw"] == [view.name for view in views_of("nothing to fold here.")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("STAB", "stab"),
        ("ｓｔａｂ", "stab"),  # full width
        ("𝓼𝓽𝓪𝓫", "stab"),  # mathematical
        ("ⓢⓣⓐⓑ", "stab"),
        ("ﬁre", "fire"),
        ("s\u200bt\u200ca\u2060b", "stab"),
        ("st\u00adab", "stab"),
        ("\u202estab\u202c", "stab"),  # bidi
        ("s\u0336t\u0336a\u0336b\u0336", "stab"),  # struck out
        ("stáb", "stab"),
        ("st\U000e0061ab", "stab"),  # tag
        ("ѕtаb", "stab"),  # Cyrillic ѕ and а
        ("ΚΙLL ΝΟW", "kill now"),  # Greek capitals
        ("ꜱᴛᴀʙ", "stab"),  # small capitals
        ("s t a b", "stab"),
        ("s.t.a.b", "stab"),
        ("s--t--a--b", "stab"),
        ("_s t a b_", "_stab_"),
        ("ѕ t а b", "stab"),
        ("k i l l him", "kill him"),
        ("a   b", "a b"),
        ("a \n\n b", "a\nb"),
        ("a\r\nb", "a\nb"),
        ("a\tb", "a b"),
        ("a\u2028b", "a\nb"),
        ("a\u00a0\u3000b", "a b"),
    ],
)  # fmt: skip
def test_a_trick_is_undone(text: str, expected: str):
    """One trick of Unicode, spacing or case, and what a reader sees."""
    assert expected == canonical(text)


@pytest.mark.parametrize("text", ["мама мыла раму", "το μήλο".replace("ή", "η"), "안녕", "你好。", "😀"])
def test_other_scripts_stay_as_they_are(text: str):
    """A word wholly of another script is that word, not a disguise of a Latin one."""
    assert text == canonical(text)


@pytest.mark.parametrize("text", ["a b c", "i a m here", "1. 2. 3.", "a.m. and p.m."])
def test_ordinary_short_words_are_not_joined(text: str):
    """Fewer than four letters set apart are ordinary text."""
    assert text == canonical(text)


def test_a_span_of_the_canonical_view_is_bytes_of_the_original():
    """What a window of the canonical view shows can be pointed at in the text that the caller sent."""
    text = "He s\u200bt\u0430bbed"
    view = views_of(text)[1]
    at = view.text.index("stabbed")
    start, end = view.byte_span(at, at + len("stabbed"))

    assert "s\u200bt\u0430bbed".encode() == text.encode()[start:end]


@given(TRICKY)
@settings(max_examples=400)
def test_canonicalising_twice_is_canonicalising_once(text: str):
    """For any text at all: so that the canonical text is a fixed point, and no trick is left half undone."""
    once = canonical(text)

    assert once == canonical(once)


@given(TRICKY)
def test_origins_never_go_back_and_stay_inside(text: str):
    """One origin for each character and one for the end, increasing, within the text."""
    folded, origins = canonicalise(text)

    assert len(folded) + 1 == len(origins)
    assert list(origins) == sorted(origins)
    assert all(0 <= origin <= len(text) for origin in origins)
    assert len(text) == origins[-1]


@given(st.text("abc xyz.", min_size=1), st.lists(st.tuples(st.integers(0), st.sampled_from(INVISIBLE))))
def test_invisible_characters_change_nothing(text: str, inserted: list[tuple[int, str]]):
    """Wherever they stand, and however many."""
    disguised = text
    for place, invisible in inserted:
        at = place % (len(disguised) + 1)
        disguised = disguised[:at] + invisible + disguised[at:]

    assert canonical(text) == canonical(disguised)


@given(st.lists(st.sampled_from("aeopcxyhknv"), min_size=1, max_size=12), st.data())
def test_lookalikes_in_a_mixed_word_change_nothing(letters: list[str], data: st.DataObject):
    """Any letters of a word may be swapped, as long as one stays Latin."""
    swapped = [data.draw(st.sampled_from([letter, *LOOKALIKES[letter]])) for letter in letters]

    assert canonical("s" + "".join(letters)) == canonical("s" + "".join(swapped))


@given(st.lists(LETTER, min_size=4, max_size=10), st.sampled_from([" ", ".", "-", "_", "*", "--", " - ", "_."]))
def test_letters_set_apart_read_as_the_word(letters: list[str], apart: str):
    """With any separator that stays the same."""
    assert f"the {''.join(letters)}!" == canonical(f"the {apart.join(letters)}!")


def took_s(work: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


@pytest.mark.parametrize(
    "piece",
    [
        "a ",
        "a_.",
        "a-_",
        "a_",
        "\u0301",
        "a\u0301",
        "  ",
        "\n ",
        "é",
        "😀",
        "kі ",
        "\u200b",
        "ﷺ",
        "한",
        ". ",
        "k i l l ",
    ],
)
def test_reading_takes_time_in_proportion_to_the_text(piece: str):
    """64 KB of the worst texts that came to mind; a square in the length would take seconds to minutes."""
    text = piece * (65_536 // len(piece.encode()))

    assert took_s(lambda: views_of(text)) < 3.0


def test_a_hundred_thousand_combining_marks_are_read_at_once():
    """A letter under a tower of marks is that letter."""
    text = "a" + "\u0301" * 100_000

    assert took_s(lambda: canonicalise(text)) < 3.0
    assert "a" == canonical(text)
