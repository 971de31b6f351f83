"""The canonical reading: a text without the tricks of Unicode, spacing and case, as a reader sees it on a page."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from interlock_server.text.confusables import CASED, CONFUSABLES, LATIN_LOOKALIKES
from interlock_server.text.traced import Traced

# Characters that take no room on a page although their category is not Cf: fillers, variation selectors, joiners.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_BLANKS = re.compile(r"\s{2,}")
# Letters set apart, four or more, with the same separator between any two: "k i l l", "k.i.l.l", "k--i--l--l". Giving
# back one letter is always enough to end at a separator, so that a failed attempt costs little: the search stays linear.
# Shorter words written in the same way, beside such a word and across a wider gap, go with it: "k i l l   h i m".
_LETTER = r"[^\W_]"
_GAP = r"[\s.\-_*]{1,8}"
_LONG = rf"(?P<apart>[ \t.\-_*]{{1,3}}){_LETTER}(?:(?P=apart){_LETTER}){{2,}}(?!{_LETTER})"
_AFTER = rf"(?:{_GAP}{_LETTER}(?:(?P=apart){_LETTER})++(?!{_LETTER}))*"
_SHORT = rf"(?P<near>[ \t.\-_*]{{1,3}}){_LETTER}(?:(?P=near){_LETTER})?(?!{_LETTER})"
_THEN = (
    rf"(?:{_GAP}{_LETTER}(?:(?P=near){_LETTER}){{1,2}}(?!{_LETTER})){{0,4}}{_GAP}{_LETTER}(?:(?P=near){_LETTER}){{3}}"
)
_SPACED = re.compile(rf"(?<!{_LETTER}){_LETTER}(?:{_LONG}{_AFTER}|{_SHORT}(?={_THEN}))")
# One byte for each character, a separator, a letter or neither: in this, letters set apart are found without a regex.
_SHAPES = bytes(
    ord("-") if chr(b) in " \t.-_*" else ord("a") if chr(b).isalnum() or chr(b) == "?" else ord("x") for b in range(128)
).ljust(256, b"x")
_SET_APART = (b"-a-a-", b"-a--a-", b"-a---a-")

_WORD = re.compile(r"[^\W\d_]+")
_ROUNDS_MAX = 8
_FOLDED_MAX = 6  # two Arabic phrases in one character fold to more: 64 KB of them would become 400,000 characters
_Kept = Callable[[re.Match[str]], Iterable[int]]


def canonical(source: Traced) -> Traced:
    """The canonical reading of a text that may be a reading itself."""
    text, places = canonicalise(source.text)
    return source.drawn(text, places)


def canonicalise(text: str) -> tuple[str, Sequence[int]]:
    """The canonical reading and, for each of its characters and the end, the position it came from. Idempotent.

    Compatibility forms, accents and case are folded, invisible and control characters dropped, look-alike letters
    replaced in words that mix scripts, letters set apart are joined and runs of blanks become one.
    """
    folded, origins = _fold(text)
    for _ in range(_ROUNDS_MAX):  # joining can bring look-alikes together, and blanks next to each other
        before = folded
        folded = _unmask(folded, origins, text)
        if _may_be_spaced(folded):
            folded, origins = _keep(_SPACED, _joined, folded, origins)
        if not folded.isascii() or any(pair in folded for pair in ("  ", "\n\n", " \n", "\n ")):
            folded, origins = _keep(_BLANKS, _blank, folded, origins)
        if folded == before:
            break
    return folded, origins


def cased(source: Traced, folded: Traced) -> Traced:
    """The canonical reading of `source` with the letters as large as they were: to what is encoded, case matters."""
    if source.text.lower() == folded.text:
        return source
    text, places = canonicalise(source.text)
    letters = [_sized(source.text[place], ch) for ch, place in zip(text, places, strict=False)]
    return source.drawn("".join(letters), places)


def _sized(original: str, folded: str) -> str:
    upper = folded.upper()
    return upper if upper != folded and upper in (original, unicodedata.normalize("NFKC", original)) else folded


_ASCII = {code: None for code in (*range(32), 127)} | {ord(ch): ch.lower() for ch in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_ASCII |= {ord("\t"): " "} | {ord(ch): "\n" for ch in "\n\r\x0b\x0c"}


def _fold(text: str) -> tuple[str, Sequence[int]]:
    if text.isascii():
        folded = text.translate(_ASCII)
        if len(folded) == len(text):
            return folded, range(len(text) + 1)
    pieces = [_fold_character(ch) for ch in text]
    origins = [place for place, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*origins, len(text)]


@lru_cache(maxsize=65_536)
def _fold_character(ch: str) -> str:
    """One character without accents, compatibility form, case or invisibility; possibly several or none."""
    if ch in "\t\n\r\x0b\x0c\x85\u2028\u2029":
        return "\n" if ch != "\t" else " "
    folded = ch
    for _ in range(4):  # folding can yield characters that fold again
        parts = unicodedata.normalize("NFKD", folded).casefold()
        kept = "".join(c for c in parts if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Cc", "Cs"))
        again = unicodedata.normalize("NFKC", _INVISIBLE.sub("", kept))
        if again == folded:
            break
        folded = again
    return folded if len(folded) <= _FOLDED_MAX else ch


def _unmask(text: str, origins: Sequence[int], source: str) -> str:
    """Look-alikes of Latin letters become these in words that have a Latin letter too; lengths stay the same."""
    if text.isascii():
        return text

    def latin(match: re.Match[str]) -> str:
        if match[0].isascii() or not _mixed(match[0]):
            return match[0]
        letters = (CASED.get(source[origins[place]], text[place]) for place in range(*match.span()))
        return "".join(letters).translate(CONFUSABLES)

    return _WORD.sub(latin, text)


def _mixed(word: str) -> bool:
    return any("a" <= ch <= "z" or ch in LATIN_LOOKALIKES for ch in word)


def _may_be_spaced(text: str) -> bool:
    """Whether two single letters stand side by side: a quick look, which `_SPACED` would take ten times as long for."""
    shape = text.encode("ascii", "replace").translate(_SHAPES)
    return any(letters in shape for letters in _SET_APART)


def _joined(match: re.Match[str]) -> Iterable[int]:
    """The letters, and the gaps between words of them."""
    apart = re.escape(match["apart"] or match["near"])
    at = match.start()
    for separator in re.finditer(rf"(?<={_LETTER}){apart}(?={_LETTER})", match[0]):
        yield from range(at, match.start() + separator.start())
        at = match.start() + separator.end()
    yield from range(at, match.end())


def _blank(match: re.Match[str]) -> Sequence[int]:
    """Keeps one character of a run of blanks: a line break, where there is one, since it ends a sentence."""
    newline = match[0].find("\n")
    return (match.start() + max(newline, 0),)


def _keep(pattern: re.Pattern[str], kept: _Kept, text: str, origins: Sequence[int]) -> tuple[str, Sequence[int]]:
    """Reduces every match to the positions that `kept` names; the rest stays, and `origins` keeps pace."""
    places: list[int] = []
    end = 0
    for match in pattern.finditer(text):
        places.extend(range(end, match.start()))
        places.extend(kept(match))
        end = match.end()
    if end == 0:
        return text, origins
    places.extend(range(end, len(text)))
    return "".join([text[p] for p in places]), [*(origins[p] for p in places), origins[-1]]
