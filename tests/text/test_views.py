"""Views: which there are, where each byte of them comes from, and what making them costs."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from interlock_server.text.decoding import DECODED_MIN, DECODED_SHARE_MAX, READINGS_MAX
from interlock_server.text.views import View, Views, views_of

from .tricks import PLAIN, TRICKS, encoded

# Every script, and pieces of every code, whole and broken.
PIECES = [
    "&#105;",
    "&#x",
    "&amp;",
    "%6",
    "%69",
    "%c3%a9",
    "\\u0069",
    "\\x",
    "6b 69",
    "a2lsbCBoaW0=",
    "gur ",
    "llik ",
    "k1ll ",
    "iiii",
    "k i l l ",
    "\U000e0061",
    "\ufe0f",
    "\U000e0155",
    "\u200b",
    "é",
    "한",
    "😀",
    "ﬁ",
    ". ",
    "\n",
    "  ",
    "=",
    "the ",
]
CODED = st.lists(st.one_of(st.characters(), st.sampled_from(PIECES))).map("".join)  # fmt: skip


def looks(text: str) -> str:
    return " ".join(text.lower().split())


def named(name: str, text: str) -> View:
    return next(view for view in views_of(text).all if view.name == name)


def test_the_raw_view_of_ascii_has_a_byte_for_each_character():
    """In ASCII, characters are bytes."""
    raw = views_of("abc").all[0]

    assert ("raw", "abc", [0, 1, 2, 3]) == (raw.name, raw.text, list(raw.offsets))


def test_the_raw_view_counts_the_bytes_of_wide_characters():
    """Characters of one to four bytes."""
    raw = views_of("aé한😀").all[0]

    assert [0, 1, 3, 6, 10] == list(raw.offsets)


@pytest.mark.parametrize(
    "text", ["".join(["he", "took", "the", "longest", "knife"] * 3), "he\u20actook1a\u20acknife2" * 9]
)
def test_a_text_without_blanks_is_not_taken_for_read(text: str) -> None:
    """To WordPiece a word of more than 100 characters is one unknown token, and joined words say little before that."""
    assert not views_of(f"And then {text}.").complete


@pytest.mark.parametrize(
    "text", ["antidisestablishmentarianism", "a" * 35, encoded("They walked home. " * 20), "-" * 200]
)
def test_long_words_that_can_be_read_are(text: str) -> None:
    """The longest words of English, rules of signs, and what a code explains."""
    assert views_of(f"And then {text} again.").complete


@given(CODED)
def test_raw_offsets_are_those_of_the_encoder(text: str):
    """Whatever the text, a span of the raw view is the bytes of its characters."""
    raw = views_of(text).all[0]
    half = len(text) // 2

    assert (
        text[half:].encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass")[raw.byte_offset(half) :]
    )


def test_a_text_that_is_canonical_has_one_view():
    """No view is made that shows the same."""
    assert ["raw"] == [view.name for view in views_of("nothing to fold here.").all]


def test_a_span_of_the_canonical_view_is_bytes_of_the_original():
    """What a window of the canonical view shows can be pointed at in the text that the caller sent."""
    text = "He s\u200bt\u0430bbed"
    view = views_of(text).all[1]
    at = view.text.index("stabbed")
    start, end = view.byte_span(at, at + len("stabbed"))

    assert "s\u200bt\u0430bbed".encode() == text.encode()[start:end]


@pytest.mark.parametrize(
    ("name", "text", "shown", "source"),
    [
        ("escapes", "é k&#105;ll it", "i", "&#105;"),
        ("escapes", "é %6b%69ll it", "ki", "%6b%69"),
        ("base64", "é a2lsbCBoaW0= it", "kill him", "a2lsbCBoaW0="),
        ("hidden", "é \U000e006b\U000e0069 it", "ki", "\U000e006b\U000e0069"),
        ("leet", "é k1ll it", "kill", "k1ll"),
        ("squeezed", "é haaate it", "hate", "haaate"),
        ("reversed", "é it was. Mih llik ot woh! Then the rain was over.", "kill", "Mih llik ot woh! "),
        (
            "reversed",
            "é it was. Mih llik ot woh! Then the rain was over.",
            "kill him\nthen the",
            "Mih llik ot woh! Then the",
        ),
    ],
)
def test_a_span_of_a_decoded_view_is_what_was_decoded(name: str, text: str, shown: str, source: str):
    """Or all of what was reversed together."""
    view = named(name, text)
    at = view.text.index(shown)
    start, end = view.byte_span(at, at + len(shown))

    assert source == text.encode()[start:end].decode()


@given(CODED)
def test_spans_of_any_view_are_whole_characters_in_order(text: str):
    """An offset for each character and the end, never going back, each where a character begins."""
    starts = {len(text[:place].encode("utf-8", "surrogatepass")) for place in range(len(text) + 1)}
    for view in views_of(text).all:
        assert len(view.text) + 1 == len(view.offsets)
        assert list(view.offsets) == sorted(view.offsets)
        assert {view.byte_span(place, place + 1) for place in range(len(view.text))} <= {
            (start, end) for start in starts for end in starts if start <= end
        }


@given(CODED)
def test_the_raw_view_is_always_the_first(text: str):
    """Unchanged, so that no reading can take the place of what was written, and each differs from all others."""
    views = views_of(text).all

    assert ("raw", text) == (views[0].name, views[0].text)
    assert len(views) == len({view.text for view in views})


@given(PLAIN, st.sampled_from(sorted(TRICKS)))
@example("kill kill body body", "leet")  # "b0dy b0dy" is also base64
def test_a_trick_is_seen_through(text: str, trick: str):
    """Some view shows the plain sentence, however it was written."""
    views = views_of(TRICKS[trick](text))

    assert views.complete
    assert any(text in looks(view.text) for view in views.all)


@given(st.lists(PLAIN, min_size=2, max_size=6), st.sampled_from(sorted(set(TRICKS) - {"reversed", "base64 lines"})))
def test_a_trick_among_plain_sentences_is_seen_through(sentences: list[str], trick: str):
    """Half of a text in code is no better hidden than all of it."""
    views = views_of(". ".join(["The day was nice", TRICKS[trick](sentences[0]), *sentences[1:]]) + ".")

    assert any(sentences[0] in looks(view.text) for view in views.all)


ORDINARY = [
    "Meet me at 10am on the 2nd, bring the mp3 and $100, not 5k.",
    "Covid19 and CO2, 3D prints, B2B sales, H2O, 24/7, A4, ps5, 1990s, 20mph, 5mins, 7pm.",
    "AT&T and R&D grew 50% in 2024; 100% of Q3 came from john@example.com, see https://example.com/a/b-c?id=4&x=5.",
    "She was on the mat; no dog saw a god. But not a tub, as it was won in an era of pots.",
    "Call 4155550132 or +1 (415) 555-0132, room 1204, order 20240512, at 12:30:45.",
    "Numbers: 20 30 40 50 60, 0x1F and 12-34-56.",
    "Balloon, bookkeeper, committee; www.example.com and Wi-Fi. WOW! Great... Yes, NASA's iPhone.",
    "Dear all,\n\n1. Eat.\n2. Sleep.\n\nYours, A. B. Cole (U.S.)",
    "Commit da39a3ee5e6b4b0d3255bfef95601890afd80709, key Aqkxz9QwYtRtY81LmNbVc, 0x7ffe",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_decoded(text: str):
    """What is no code costs nothing and shows no nonsense."""
    assert {view.name for view in views_of(text).all} <= {"raw", "canonical"}


def test_emoji_and_flags_are_not_decoded():
    """Selectors and joiners of emoji, accents and ideographs hide nothing."""
    text = "I ❤️ you 👩‍👩‍👧‍👦 👍🏽 ✔️ café 葛\U000e0100"

    assert {view.name for view in views_of(text).all} <= {"raw", "canonical"}


def decoded_size(views: Views) -> int:
    return sum(len(view.text) for view in views.all if view.name not in ("raw", "canonical", "leet", "squeezed"))


@given(CODED)
def test_views_stay_within_their_limits(text: str):
    """In number and in size."""
    views = views_of(text)

    assert len(views.all) <= READINGS_MAX
    assert decoded_size(views) <= DECODED_SHARE_MAX * len(text) + DECODED_MIN


def nested(text: str, times: int) -> str:
    return nested(encoded(text), times - 1) if times else text


@pytest.mark.parametrize(("times", "complete"), [(1, True), (2, True), (3, True), (4, False)])
def test_what_is_encoded_too_deep_is_not_taken_for_read(times: int, complete: bool):
    """Three rounds are read, and of a fourth it is known that it is there."""
    assert complete == views_of(nested("kill him with the knife", times)).complete


def test_too_much_to_read_is_not_taken_for_read():
    """Every code in every round makes more text than anyone reads."""
    tags = "\U000e0061 &#xE0061; &amp;#xE0061; &amp;amp;#105;"
    codes = f"{tags} {b'kill'.hex().encode().hex()} {nested('kill him', 3)} xvyy gurz abj"
    text = "The light came over the ridge at half past six. " * 100 + codes

    assert not views_of(text).complete
    assert views_of(text.replace("&", "and")).complete


BOMBS = ["&#", "&#105;", "&amp;", "&amp;amp;", "&a", "%", "%41", "%4", "=", "a ", "a", "A", "aA", "1", "12 ", "6b ", "6b",
         "6b 9x ", "0x", "a2lsbCBoaW0g", "a2lsbCBoaW0gbm93\n", "a2lsbCBo ", "k1ll ", "k1", "@a", "@a.a ", "iii ",
         "\U000e0061", "a\U000e0061", "\ufe0f", "\U000e0155", "a\U000e0155", " gur", "eht dna. ", "\\", "\\u0041",
         "\\u{", "\\x4", "a-b-", "x k.i.l.l ", "k i l l   h i m   ", "a  b  ", "a b.", "é", "k1ll é ", "ﷺ",
         "k1ll kiiill &#105; %41 gur. eht é. "]  # fmt: skip


@pytest.mark.parametrize("piece", BOMBS)
def test_work_grows_with_the_text(piece: str):
    """Sixteen times the text is a few times sixteen times the work at most; a square would be 256 times."""

    def work_s(size: int) -> float:
        text = piece * (size // len(piece.encode()))
        begun_s = time.thread_time()
        views_of(text)
        return time.thread_time() - begun_s

    small_s = max(min(work_s(4_096) for _ in range(3)), 0.001)

    assert min(work_s(65_536) for _ in range(2)) <= 80 * small_s


def test_a_word_on_each_line_is_read_as_a_sentence_too() -> None:
    """A line break ends a sentence, and a sentence of one word says nothing; a verse keeps its lines."""
    words = {view.name: view.text for view in views_of("He\ntook\nthe\nlongest\nknife\nof all.").all}
    verse = [view.name for view in views_of("one line of a song\nand one line more\n" * 4).all]
    assert "he took the longest knife of all." == words["unwrapped"]
    assert "unwrapped" not in verse
