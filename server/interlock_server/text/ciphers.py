"""Rot13, and text and words written backwards: where the result looks more like English than the text as it stands."""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from string import punctuation
from typing import NamedTuple

from interlock_server.text.language import COMMON, IN_REVERSE, IN_ROT13, rot13, words
from interlock_server.text.traced import Edit, Span
from interlock_server.text.windows import split_sentences

_WORD = re.compile(r"\S+")
_SHARE_MIN = 0.2
_SURE = 3


class _Cipher(NamedTuple):
    signs: Set[str]
    solve: Callable[[str], str]
    moves: bool
    """Characters do not stay in their places."""


def _turned(word: re.Match[str]) -> str:
    """The word backwards, with the marks of either side behind it, where they end sentences."""
    core = word[0].strip(punctuation)
    before, _, after = word[0].partition(core or word[0])
    return core[::-1] + before + after if core else word[0]


CIPHERS: Mapping[str, _Cipher] = {
    "rot13": _Cipher(IN_ROT13, rot13, moves=False),
    "reversed": _Cipher(IN_REVERSE, lambda text: text[::-1], moves=True),
    "reversed_words": _Cipher(IN_REVERSE, lambda text: _WORD.sub(_turned, text), moves=True),
}


def solved(name: str, text: str) -> Iterator[list[Edit]]:
    """The sentences of a lower-case text that the cipher makes English, and then the whole of it if that is mostly so."""
    cipher = CIPHERS[name]
    if cipher.signs.isdisjoint(words(text)):
        return
    spans = [span for span in split_sentences(text) if _hides(text[slice(*span)], cipher, _SURE)]
    if spans:
        yield [_sentence(text, span, cipher) for span in spans]
    if _hides(text, cipher, len(text)):
        yield [Edit(0, len(text), cipher.solve(text))]


def _sentence(text: str, span: Span, cipher: _Cipher) -> Edit:
    """One that still ends where it did, though its full stop may now stand in front."""
    sentence = text[slice(*span)]
    core = sentence.rstrip()
    return Edit(*span, cipher.solve(core) + ("\n" if core != sentence else ""))


def _hides(text: str, cipher: _Cipher, sure: int) -> bool:
    """Whether the cipher makes it English for the most part, or so many words of it that some of it must be."""
    found = words(text)
    hits = sum(word in cipher.signs for word in found)
    mostly = hits > sum(word in COMMON for word in found) and hits >= _SHARE_MIN * len(found)
    return mostly or hits >= sure
