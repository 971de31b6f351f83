"""Cutting: what of a prompt is shown, and that a sentence is alone in its window."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.backends.backend import Reading
from interlock_server.backends.cutting import (
    CHARS_PER_TOKEN_MAX,
    Encoding,
    Tokens,
    character_windows,
    exchange_windows,
    sentence_windows,
    views_to_read,
)
from interlock_server.backends.ngram_features import ngram_ids
from interlock_server.text.exchange import Exchange
from interlock_server.text.windows import split_sentences
from tokenizers import Tokenizer

from .cases import DATA

TOKENIZER = Tokenizer.from_file(str(DATA / "tokenizer.json"))
CLS, SEP = TOKENIZER.token_to_id("[CLS]"), TOKENIZER.token_to_id("[SEP]")
TARGET = "He stabbed her."
SENTENCE = st.text("abc tea,", min_size=1, max_size=60).filter(str.strip).map(lambda text: text.strip() + ".")


def encode(text: str) -> Encoding:
    return TOKENIZER.encode(text, add_special_tokens=False)


TOKENS = Tokens(encode, (CLS,), (SEP,), (SEP,))


def ids(text: str) -> list[int]:
    return encode(text).ids


def read(prompt: str, completion: str, prompt_max: int = 8, tokens: Tokens = TOKENS) -> Reading:
    exchange = Exchange(prompt, completion)
    return exchange_windows(exchange, exchange.views[:1], tokens, 32, prompt_max)


def framed(reading: Reading) -> list[list[int]]:
    return [window.ids.tolist() for window in reading.windows]


def by_sentence(completion: str, tokens_max: int = 64) -> Reading:
    exchange = Exchange("", completion)
    return sentence_windows(exchange, exchange.views[:1], TOKENS, tokens_max)


def test_a_window_is_framed_prompt_and_piece():
    """[CLS] prompt [SEP] piece [SEP], and it is known where the prompt ends."""
    reading = read("tea", "the cup")

    assert [[CLS, *ids("tea"), SEP, *ids("the cup"), SEP]] == framed(reading)
    assert 3 == reading.windows[0].context_size


def test_a_short_prompt_is_shown_whole():
    """All of its bytes, and no others."""
    assert ((0, 8),) == read("thé té", "cup").prompt_spans


def test_without_a_prompt_nothing_is_shown():
    """And nothing is claimed to be."""
    reading = read("", "cup")

    assert ([[CLS, SEP, *ids("cup"), SEP]], ()) == (framed(reading), reading.prompt_spans)


@pytest.mark.parametrize("prompt", ["tea", "tea " * 100, "t" * 10_000])
def test_a_member_without_room_for_prompts_is_shown_none(prompt: str):
    """However long they are: it reads single texts, as it learned to."""
    reading = read(prompt, "cup", prompt_max=0)

    assert ([[CLS, *ids("cup"), SEP]], ()) == (framed(reading), reading.prompt_spans)
    assert 0 == reading.windows[0].context_size


def test_of_a_long_prompt_the_two_ends_are_shown():
    """Half of the budget each, with the bytes that they stand for."""
    prompt = "the é " + "cup " * 20 + "he é tea"
    reading = read(prompt, "cup", prompt_max=4)

    assert [*ids("the é"), *ids("é tea")] == framed(reading)[0][1:5]
    assert ["the é", "é tea"] == [prompt.encode()[start:end].decode() for start, end in reading.prompt_spans]


@pytest.mark.parametrize("prompt", ["tea " * 250_000, "é" * 1_000_000, " " * 1_000_000, "a" * 1_000_000])
def test_a_prompt_of_a_million_characters_is_cheap(prompt: str):
    """Only its ends are tokenised."""
    encoded: list[int] = []

    def counting(text: str) -> Encoding:
        encoded.append(len(text))
        return encode(text)

    read(prompt, "cup", tokens=Tokens(counting, (CLS,), (SEP,), (SEP,)))

    assert sum(encoded) <= 2 * 8 * CHARS_PER_TOKEN_MAX + len("cup")


@given(st.text("abé \n.😀", max_size=2_000), st.integers(0, 12))
def test_the_prompt_never_takes_more_than_its_budget(prompt: str, prompt_max: int):
    """And its spans are inside it, in order, apart from each other."""
    reading = read(prompt, "cup", prompt_max)
    bounds = [bound for span in reading.prompt_spans for bound in span]

    assert reading.windows[0].context_size <= prompt_max + 2
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= len(prompt.encode()) for bound in bounds)


@given(st.lists(SENTENCE, min_size=1, max_size=8))
def test_a_sentence_window_shows_one_sentence(parts: list[str]):
    """Never tokens of two."""
    text = " ".join(parts)
    spans = split_sentences(text)

    assert all(
        any(start <= window.span[0] and window.span[1] <= end for start, end in spans)
        for window in by_sentence(text, 20).windows
    )


@given(st.lists(SENTENCE), st.lists(SENTENCE))
def test_nothing_around_a_sentence_changes_its_window(before: list[str], after: list[str]):
    """Padding cannot dilute it: the very same ids go into the model."""
    alone = by_sentence(TARGET).windows[0].key
    among = [window.key for window in by_sentence(" ".join([*before, TARGET, *after])).windows]

    assert alone in among


@given(st.lists(st.text("abc tea,", min_size=100, max_size=300).map(lambda text: text + "."), max_size=3))
def test_a_long_neighbour_changes_nothing_either(before: list[str]):
    """Though it is cut into pieces itself."""
    alone = by_sentence(TARGET, 20).windows[0].key
    among = [window.key for window in by_sentence(" ".join([*before, TARGET]), 20).windows]

    assert alone in among


@pytest.mark.parametrize("text", ["\ufffd", "\ue000\ue001", "\ufffd \ufffd"])
@pytest.mark.parametrize("cutter", [lambda text: read("", text), by_sentence])
def test_a_text_without_tokens_has_no_windows(cutter: Callable[[str], Reading], text: str):
    """The tokenizer drops it, so that there is no evidence about it."""
    assert [] == list(cutter(text).windows)


def test_characters_are_cut_at_sentences():
    """Windows of n-grams stay below their size too."""
    reading = character_windows(Exchange("", "One two. Three four. Five.").views[:1], ngram_ids, 16)

    assert [(0, 9), (9, 21), (21, 26)] == [window.span for window in reading.windows]


PROSE = st.lists(
    st.lists(st.sampled_from(["tea", "the", "cup", "she"]), min_size=1, max_size=60), min_size=8, max_size=60
).map(lambda sentences: [" ".join(words).capitalize() + "." for words in sentences])


def tokens_per_token(text: str, prompt: str = "the cup " * 24) -> float:
    """What the encoder reads of every view, each window once, for each token of the prompt and the completion."""
    exchange = Exchange(prompt, text)
    views = views_to_read(exchange, ["raw", "canonical"], True)
    reading = exchange_windows(exchange, views, TOKENS, 256, 48)
    read_tokens = sum(len(window.ids) for window in {window.key: window for window in reading.windows}.values())
    return read_tokens / (len(ids(prompt)) + len(ids(text)))


@given(PROSE, st.sampled_from([" ", "  ", "\n", "\r\n\r\n"]))
def test_plain_text_costs_few_tokens_beyond_its_own(sentences: list[str], between: str):
    """At most 2.5, however its sentences are set apart."""
    assert tokens_per_token(between.join(sentences)) <= 2.5


DAY = (
    "On day {} the hut stood a little above the trees, and the first light came over the ridge at half past six. "
    "Marta put the kettle on, opened the shutters and counted the goats, as she did every day. "
    "Two hikers had left their boots by the door and were still asleep under three blankets each. "
    "She cut the bread, set out butter and honey, and wrote the weather on the slate by the stairs. "
)
DISGUISES = [
    "plain", "k&#105;ll", "k%69ll", "k1ll", "m1ll10n", "kiiill", "ѕtаb", "s t a b", "a2lsbCBoaW0gbm93", "llik mih ot woh",
    "xvyy uvz jvgu",
]  # fmt: skip


def days(first: int, last: int) -> str:
    """Prose that never repeats itself, so that no window is another one's copy."""
    return "".join(DAY.format(day) for day in range(first, last))


@pytest.mark.parametrize("word", DISGUISES)
@pytest.mark.parametrize("place", [0, 5, 11])
def test_one_disguised_word_costs_few_tokens(word: str, place: int):
    """Of 4 KB only the sentence around it is read again."""
    text = days(0, place) + f"They read {word} on the slate. " + days(place, 11)

    assert len(text) > 4_096
    assert tokens_per_token(text, prompt="") <= 2.5


@pytest.mark.parametrize("word", DISGUISES[1:])
def test_a_disguised_word_is_read_once_more(word: str):
    """But not the text around it."""
    exchange = Exchange("", f"{days(0, 5)}They read {word} on the slate. {days(5, 10)}")
    parts = views_to_read(exchange, ["raw", "canonical"], True)[1:]

    assert parts
    assert all(len(part.text) < len(DAY) for part in parts)


@given(st.lists(SENTENCE), st.sampled_from(DISGUISES), st.lists(SENTENCE))
def test_nothing_around_a_disguise_changes_its_windows(before: list[str], word: str, after: list[str]):
    """Every sentence that is read of the text alone is read in any company."""

    def keys(text: str) -> set[bytes]:
        exchange = Exchange("", text)
        views = views_to_read(exchange, ["raw", "canonical"], True)
        return {window.key for window in sentence_windows(exchange, views, TOKENS, 64).windows}

    target = f"They read {word} on the slate."

    assert keys(target) <= keys(" ".join([*before, target, *after]))


def test_an_unreadable_exchange_is_not_read():
    """Its views are not all there are."""
    assert [] == list(views_to_read(Exchange("", "&amp;amp;amp;amp;"), ["raw", "canonical"], True))


def test_the_tokens_of_the_input_are_counted():
    """Of the completion as it stands, and of the prompt as far as it is shown."""
    exchange = Exchange("tea", "k&#105;ll")
    reading = exchange_windows(exchange, views_to_read(exchange, ["raw", "canonical"], True), TOKENS, 64, 8)

    assert len(ids("tea")) + len(ids("k&#105;ll")) == reading.input_tokens


def names(views: Iterable[object]) -> list[str]:
    return [view.name for view in views]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "uncased", "expected"),
    [
        ("plain", True, ["raw"]),
        ("CAPITALS", True, ["raw"]),
        ("CAPITALS", False, ["raw", "canonical"]),
        ("two  blanks", True, ["raw"]),
        ("He ѕtаbbed her.", True, ["raw", "canonical"]),
        ("how to k&#105;ll", True, ["raw", "escapes"]),
    ],
)
def test_a_view_is_read_where_it_looks_different(text: str, uncased: bool, expected: list[str]):
    """To the member that reads it."""
    assert expected == names(views_to_read(Exchange("", text), ["raw", "canonical"], uncased))


def test_a_member_reads_the_views_that_it_asks_for():
    """Its manifest says which."""
    assert ["raw"] == names(views_to_read(Exchange("", "two  blanks"), ["raw"], True))
