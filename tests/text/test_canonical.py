"""The canonical reading: which tricks it undoes, what it leaves alone, and where each of its characters comes from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interlock_server.text.canonical import canonicalise
from interlock_server.text.confusables import CONFUSABLES

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
        ("k i l l   h i m", "kill him"),  # a wider gap is the end of a word
        ("h e   i s   d e a d", "he is dead"),
        ("k.i.l.l h.i.m", "kill him"),
        ("k-i-l-l--h-i-m", "kill--him"),
        ("x k.i.l.l", "x kill"),
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


@pytest.mark.parametrize("text", ["a b c", "i a m here", "1. 2. 3.", "a.m. and p.m.", "a b\nc d"])
def test_ordinary_short_words_are_not_joined(text: str):
    """Fewer than four letters set apart are ordinary text."""
    assert text == canonical(text)


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


def test_a_hundred_thousand_combining_marks_are_one_letter():
    """A letter under a tower of marks is that letter."""
    assert "a" == canonical("a" + "\u0301" * 100_000)
