"""How unlike English prose a text looks, by its letters and by its words. No model: two tables and a division.

Larger is stranger. A text is as strange as its strangest piece, so that ordinary pages around it hide nothing.
"""

from collections.abc import Iterator
from operator import add
from typing import NamedTuple

from interlock_server.text.language import ENGLISH, words
from interlock_server.text.views import View
from interlock_server.text.windows import pack

PIECE_CHARS = 400
LETTER_CLASSES = "abcdefghijklmnopqrstuvwxyz #?"
"""What a character can be: a letter, a blank (or a mark of prose), another sign, a letter that is not ASCII."""
# What every text has a little of, as if so much ordinary text stood before each piece: a short one is never very strange.
_GRAMS_ASSUMED, _WORDS_ASSUMED, _ENGLISH_SHARE = 20, 8, 0.45
# Every letter is in one run of three or in two: half the work, and nearly as much is known. A table of bytes stays in the
# processor's cache between two texts, a dictionary of strings does not.
_STEP = 2
SURPRISE_PARTS = 16
_SIDE = len(LETTER_CLASSES)
_FIRST, _SECOND = [place * _SIDE * _SIDE for place in range(_SIDE)], [place * _SIDE for place in range(_SIDE)]
_PLACES = bytes.maketrans(LETTER_CLASSES.encode(), bytes(range(_SIDE)))
_PROSE_MARKS = ".,;:!?'\"()-\n\t"
_TYPOGRAPHIC = str.maketrans(dict.fromkeys("‘’“”–—…«»\u00a0", " "))
_CLASSES = bytes(
    ord(ch) if ch in LETTER_CLASSES and ch != "?" else ord(" ") if ch in _PROSE_MARKS else ord("#")
    for ch in map(chr, range(256))
)
_NOT_ASCII = 127
_CLASSES = _CLASSES[:_NOT_ASCII] + b"?" + _CLASSES[_NOT_ASCII + 1 :]


class Strangeness(NamedTuple):
    """Of a whole text."""

    letters: float
    """Nats that three letters in a row surprise by, on average: random letters, codes, tables, other alphabets."""
    words: float
    """The share of words that are not among the commonest of English: other languages, in whatever letters."""


def strangeness(view: View, surprise: bytes, ordinary: float) -> Strangeness:
    """Of the strangest piece. `surprise` has every run of three `LETTER_CLASSES`, in order, in parts of a nat;
    `ordinary` is its mean in English, in nats.
    """
    pieces = [letters_of(view.text[start:end]) for start, end in _pieces(view)]
    return Strangeness(
        max(_surprise(piece, surprise, ordinary) for piece in pieces), max(_foreign_share(piece) for piece in pieces)
    )


def letters_of(text: str) -> str:
    """A canonical text in `LETTER_CLASSES`, with single blanks, one at each end."""
    if not text.isascii():
        text = "".join(["\x7f" if ch > "\x7f" else ch for ch in text.translate(_TYPOGRAPHIC)])
    return f" {' '.join(text.encode().translate(_CLASSES).decode().split())} "


def grams(letters: str) -> Iterator[str]:
    """Every three in a row."""
    return map(add, map(add, letters, letters[1:]), letters[2:])


def _pieces(view: View) -> list[tuple[int, int]]:
    ends = [end for _, end in view.sentences]
    return pack(ends, PIECE_CHARS) if len(view.text) > PIECE_CHARS else [(0, len(view.text))]


def _surprise(letters: str, surprise: bytes, ordinary: float) -> float:
    places = letters.encode().translate(_PLACES)
    first, second = map(_FIRST.__getitem__, places[::_STEP]), map(_SECOND.__getitem__, places[1::_STEP])
    found = list(map(surprise.__getitem__, map(add, map(add, first, second), places[2::_STEP])))
    return (sum(found) / SURPRISE_PARTS + ordinary * _GRAMS_ASSUMED) / (len(found) + _GRAMS_ASSUMED)


def _foreign_share(letters: str) -> float:
    found = words(letters)
    english = sum(map(ENGLISH.__contains__, found))
    return 1 - (english + _ENGLISH_SHARE * _WORDS_ASSUMED) / (len(found) + _WORDS_ASSUMED)
