"""Letters written as something else (`k1ll`), too often (`kiiill`) or without blanks, in lower-case text."""

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

from interlock_server.text.traced import Edit

_ONE_AS_I, _ONE_AS_L = (str.maketrans("1034567890@$!|", f"{one}oeasgtbgoasil") for one in "il")

_MIXED = re.compile(r"[a-z0-9@$!|]*[a-z0-9@$]")
# Signs between letters, around them, or one in front of a word. An end counts only beside such words: "mp3", "covid19".
_DISGUISED = re.compile(r"[a-z][013457@$!|]{1,2}[a-z]|[013457@$](?![xv])[a-z]{1,3}[013457@$]|^[013457$](?!x)[a-z]{3}")
_ORDINARY = re.compile(
    r"[0-9]+(?:mins?|secs?|days?|hours?|weeks?|years?|mph|kmh|lbs|star|way|fold|pack)|0x[0-9a-f]+|[0-9a-f]{6,}"
)
_DOMAIN = re.compile(r"[\w-]*\.[a-z]")
_LONG = 40  # longer ones are keys, digests and addresses
_SIGN = re.compile(r"[0-9@$!|]")
_SIGNS_PER_LETTER_MAX = 3
# Where so many words are disguised, numbers that read as common words are these.
_DENSE = 3
_READ_AS = {
    "4": "a",
    "1": "i",
    "17": "it",
    "15": "is",
    "47": "at",
    "45": "as",
    "70": "to",
    "50": "so",
    "5": "s",
    "7": "t",
}
_NUMBERS = re.compile(r"(?<![\w@$!|])(?:4|1|17|15|47|45|70|50|(?<=['’])[57])(?![\w@$!|])")
# One byte for each character: a letter, a digit or one of the signs, or neither.
_SHAPES = bytes(
    ord("a") if chr(b).isalpha() else ord("0") if chr(b) in "0123456789@$!|" else ord("-") for b in range(256)
)

# English has no word of so many letters; and WordPiece reads a longer word as one unknown token, whatever it says.
_LETTERS_MAX, _WORD_MAX = 35, 100
_ENDLESS = re.compile(rf"[^\W\d_]{{{_LETTERS_MAX + 1}}}|[^\s!-/:-@\[-`{{-~]{{{_WORD_MAX + 1}}}")

_SHORT_LINES_MIN, _SHORT_LINE_WORDS = 4, 2

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TRIPLES = tuple(3 * letter for letter in _LETTERS)
_REPEATED = re.compile(r"(?!www\.)([a-z])\1{2,}+")
_DOUBLED = frozenset("bcdefglmnoprstz")


def leet(text: str) -> Iterator[list[Edit]]:
    """Words with signs in place of letters, if any is disguised so: with each 1 as an i and, if there is one, as an l."""
    shape = text.encode("ascii", "replace").translate(_SHAPES)
    if b"a0" not in shape and b"0a" not in shape:
        return
    found = [match for match in _MIXED.finditer(text) if _is_mixed(match)]
    disguised = sum(bool(_DISGUISED.search(match[0])) and not _ORDINARY.fullmatch(match[0]) for match in found)
    if not disguised:
        return
    numbers = _NUMBERS.finditer(text) if disguised >= _DENSE else ()
    words = [Edit(*match.span(), _READ_AS[match[0]]) for match in numbers]
    yield sorted([*words, *(Edit(*match.span(), match[0].translate(_ONE_AS_I)) for match in found)])
    if any("1" in match[0] for match in found):
        yield sorted([*words, *(Edit(*match.span(), match[0].translate(_ONE_AS_L)) for match in found)])


def squeezed(text: str) -> Iterator[list[Edit]]:
    """Runs of three and more of a letter: as two where English doubles that letter; as one; as two where they are long."""
    if not any(triple in text for triple in _TRIPLES):
        return
    found = list(_REPEATED.finditer(text))
    yield [Edit(*match.span(), match[1] * (2 if match[1] in _DOUBLED else 1)) for match in found]
    yield [Edit(*match.span(), match[1]) for match in found]
    long = 2 * min((len(match[0]) for match in found), default=0)
    yield [Edit(*match.span(), match[1] * (2 if len(match[0]) >= long else 1)) for match in found]


def unwrapped(text: str) -> list[Edit]:
    """Line breaks between lines of a word or two, if there are many, as blanks: they would end sentences."""
    if text.count("\n") < _SHORT_LINES_MIN:
        return []
    lines = text.split("\n")
    short = [len(line.split()) <= _SHORT_LINE_WORDS for line in lines]
    ends = accumulate(len(line) + 1 for line in lines)
    edits = [Edit(end - 1, end, " ") for end, both in zip(ends, map(all, pairwise(short)), strict=False) if both]
    return edits if len(edits) >= _SHORT_LINES_MIN else []


def endless(text: str) -> bool:
    """Whether there is a word that no member can read, such as a whole sentence without blanks."""
    return any(len(word) > _LETTERS_MAX for word in text.split()) and _ENDLESS.search(text) is not None


def _is_mixed(match: re.Match[str]) -> bool:
    word = match[0]
    signs = len(_SIGN.findall(word))
    return (
        0 < signs <= _SIGNS_PER_LETTER_MAX * (len(word) - signs)
        and len(word) <= _LONG
        and not ("@" in word and _DOMAIN.match(match.string, match.end()))
    )
