"""How strange a text looks: what is stranger than what, and that nothing hides among ordinary pages."""

import random
from itertools import product

import pytest
from interlock_server.text.exchange import Exchange
from interlock_server.text.gibberish import LETTER_CLASSES, Strangeness, grams, letters_of, strangeness

PROSE = (
    "She poured two cups of tea and sat down by the window. It had been raining all day, and the people who came along "
    "the street were in a hurry. When he came in at last, he told her about the town, and they laughed for a long time. "
)
TAUGHT = set(grams(letters_of(PROSE.lower())))
SURPRISE = bytes(16 if run in TAUGHT else 96 for run in map("".join, product(LETTER_CLASSES, repeat=3)))


def looks(text: str) -> Strangeness:
    """By a table that has read one paragraph."""
    return strangeness(Exchange("", text).canonical, SURPRISE, 1.0)


@pytest.mark.parametrize(
    "strange",
    [
        "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=200)),
        "asdf jkl; asdfg hjkl qwer uiop zxcv bnm, " * 5,
        "4f 70 65 6e 20 74 68 65 20 64 6f 6f 72 20 " * 5,
        "date,tmin,tmax\n2024-03-01,3.1,9.8\n2024-03-02,4.0,11.2\n" * 4,
        "Утром мы пошли на рынок и купили яблоки, хлеб и немного сыра. " * 3,
        ".... . .-.. .-.. --- / .-- --- .-. .-.. -.. " * 4,
    ],
)
def test_gibberish_has_surprising_letters(strange: str):
    """Stranger than any prose."""
    assert looks(strange).letters > looks(PROSE).letters + 0.5


@pytest.mark.parametrize(
    "foreign",
    [
        "El domingo por la mañana fuimos al mercado a comprar naranjas y pan. Mi abuela quería flores. ",
        "Am Wochenende haben wir den Zaun gestrichen und danach im Garten gegrillt. ",
        "Privet, kak dela? Ya segodnya vstal rano i poshel na rynok za yablokami. ",
        "bodu kale mifo tazu renki lopa sudi vame goki ",
    ],
)
def test_another_language_has_few_common_words(foreign: str):
    """In whatever letters it is written."""
    assert looks(foreign * 2).words > looks(PROSE).words + 0.3


@pytest.mark.parametrize("strange", ["xq zvk wjq pfh " * 30, "el perro come pan con queso y vino tinto " * 10])
def test_ordinary_pages_hide_nothing(strange: str):
    """The strangest piece counts."""
    hidden = looks(20 * PROSE + strange + 20 * PROSE)

    assert hidden.letters > looks(20 * PROSE).letters + 0.2
    assert hidden.words > looks(20 * PROSE).words + 0.2


def test_a_short_text_is_never_very_strange():
    """A name is no gibberish."""
    assert looks("xqzvk").letters < looks("xqzvk " * 20).letters
    assert looks("Xanthe").words < looks("Xanthe " * 20).words


@pytest.mark.parametrize("text", ["", " ", "\n", "!!!", "7", "é", "\u2019", "\U0001f600", "a" * 5_000, "? " * 3_000])
def test_every_text_has_a_strangeness(text: str):
    """Finite, whatever it is."""
    found = looks(text)

    assert 0 <= found.letters < 7
    assert 0 <= found.words <= 1


def test_signs_of_prose_are_blanks_and_other_signs_are_not():
    """Other alphabets are told from signs."""
    assert " so he said ok ### ? " == letters_of("so — he said: “ok?” {7} ж")
