"""What a reader could see in a text: the raw view, and a canonical one without the tricks of Unicode, spacing and case.

The worst view counts, so that no view can lower a score; every view knows which bytes of the original it shows.
"""

import re
import unicodedata
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from interlock_server.text.confusables import CASED, CONFUSABLES, LATIN_LOOKALIKES

# Characters that take no room on a page although their category is not Cf: fillers, variation selectors, joiners.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_BLANKS = re.compile(r"\s{2,}")
# Letters set apart, four or more, with the same separator between any two: "k i l l", "k.i.l.l", "k--i--l--l". Giving
# back one letter is always enough to end at a separator, so that a failed attempt costs little: the search stays linear.
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?P<apart>[ \t.\-_*]{1,3})[^\W_](?:(?P=apart)[^\W_]){2,}(?![^\W_])")
_WORD = re.compile(r"[^\W\d_]+")
_ROUNDS_MAX = 8
_FOLDED_MAX = 6  # two Arabic phrases in one character fold to more: 64 KB of them would become 400,000 characters
_Kept = Callable[[re.Match[str]], Sequence[int]]


@dataclass(frozen=True)
class View:
    """One reading. `offsets` has, for each character and for the end, its byte offset in the original completion."""

    name: str
    text: str
    offsets: Sequence[int]

    def byte_span(self, start: int, end: int) -> tuple[int, int]:
        """The bytes of the original that the characters [start, end) stand for."""
        return self.offsets[start], self.offsets[end]

    def byte_offset(self, position: int) -> int:
        """The byte offset in the original of one character, or of the end."""
        return self.offsets[position]


def views_of(text: str) -> tuple[View, ...]:
    """The raw view, and the canonical one where it reads differently."""
    raw = View("raw", text, range(len(text) + 1) if text.isascii() else array("L", _utf8_offsets(text)))
    canonical, origins = canonicalise(text)
    if canonical == text:
        return (raw,)
    if not text.isascii():
        origins = array("L", [raw.offsets[origin] for origin in origins])
    return raw, View("canonical", canonical, origins)


def canonicalise(text: str) -> tuple[str, Sequence[int]]:
    """The canonical reading and, for each of its characters and the end, the position it came from. Idempotent.

    Compatibility forms, accents and case are folded, invisible and control characters dropped, look-alike letters
    replaced in words that mix scripts, letters set apart are joined and runs of blanks become one.
    """
    folded, origins = _fold(text)
    for _ in range(_ROUNDS_MAX):  # joining can bring look-alikes together, and blanks next to each other
        before = folded
        folded = _unmask(folded, origins, text)
        folded, origins = _keep(_SPACED, _joined, folded, origins)
        folded, origins = _keep(_BLANKS, _blank, folded, origins)
        if folded == before:
            break
    return folded, origins


def _utf8_offsets(text: str) -> Sequence[int]:
    widths = (1 if ch < "\x80" else 2 if ch < "\u0800" else 3 if ch < "\U00010000" else 4 for ch in text)
    return list(accumulate(widths, initial=0))


def _fold(text: str) -> tuple[str, Sequence[int]]:
    if text.isascii() and text.isprintable():
        return text.lower(), range(len(text) + 1)
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


def _joined(match: re.Match[str]) -> Sequence[int]:
    return range(match.start(), match.end(), 1 + len(match["apart"]))


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
