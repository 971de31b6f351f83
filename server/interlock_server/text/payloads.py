"""Text in transport codes: base64 and hex. Whatever does not decode to readable text is not one of them."""

import base64
import re
from collections.abc import Iterator

from interlock_server.text.escapes import escapes
from interlock_server.text.traced import Edit, Traced

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4,}+={0,2}")
_BASE64_PART = re.compile(r"[A-Za-z0-9]{8,}+={0,2}")
# Case or digits inside of a word, as base64 has nearly always and prose has not.
_SCRAMBLED = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]|[0-9][A-Za-z]|[A-Za-z][0-9]")
# The same in a string of one byte for each character, where it is found without a regex: small, capital, digit, other.
_SHAPES = bytes(
    ord("a") if chr(b).islower() else ord("A") if chr(b).isupper() else ord("0") if chr(b).isdigit() else ord("-")
    for b in range(128)
).ljust(256, b"-")
_SCRAMBLED_SHAPES = (b"aA", b"AAa", b"0a", b"0A", b"a0", b"A0")
_BASE64_MIN = 8
_GAP = re.compile(r"\s{1,4}")

_HEX_PAIRS = r"(?:0[xX])?(?:[0-9A-Fa-f]{2})++(?![0-9A-Za-z])"
_HEX = re.compile(rf"(?<![0-9A-Za-z]){_HEX_PAIRS}(?:[\s,:;-]{{1,3}}+{_HEX_PAIRS})*+")
_TEXT_PAIR = r"(?:0[xX])?[2-7][0-9A-Fa-f]"
_HEX_OF_TEXT = re.compile(rf"(?<![0-9A-Fa-f]){_TEXT_PAIR}(?:[\s,:;-]{{0,3}}+{_TEXT_PAIR})*+")
_HEX_DIGITS = re.compile(r"0[xX]|[^0-9A-Fa-f]")
_HEX_WORD = re.compile(r"[0-9A-Fa-f]+")
_HEX_BYTES_MIN = 4

_ENCODED_AGAIN = re.compile(r"[A-Za-z0-9+/_=-]{8,}|[0-9A-Fa-f\s]{8,}")
_SHORT = 24
_LETTERS_SHARE_SHORT, _LETTERS_SHARE, _BROKEN_SHARE = 0.75, 0.5, 0.1


def base64_text(text: str) -> list[Edit]:
    """Runs of base64, standard or URL-safe, padded or not, on one line or several."""
    shape = text.encode("ascii", "replace").translate(_SHAPES)
    if not any(scrambled in shape for scrambled in _SCRAMBLED_SHAPES):
        return []
    return [edit for group in _groups(text) for edit in _read_group(text, group)]


def hex_text(text: str) -> list[Edit]:
    """Runs of pairs of hex digits, with or without blanks, commas, colons and 0x between them."""
    if sum(map(text.count, "0123456789")) < _HEX_BYTES_MIN:  # letters are 4x to 7x
        return []
    return [edit for match in _HEX.finditer(text) for edit in _read_hex(match)]


def readable(data: bytes) -> str | None:
    """The bytes as text, or None when they are not UTF-8 for the most part, or hardly have letters."""
    text = data.decode("utf-8", "replace")
    broken = sum(not (ch.isprintable() or ch in "\t\r\n") or ch == "\ufffd" for ch in text)
    if broken > _BROKEN_SHARE * len(text):
        return None
    plain = Traced.whole(text).edited(escapes(text)).text
    letters = sum(ch.isalpha() or ch == " " for ch in plain)
    share = _LETTERS_SHARE_SHORT if len(plain) < _SHORT else _LETTERS_SHARE
    return text if letters >= share * len(plain) or _ENCODED_AGAIN.fullmatch(text) else None


def _read_hex(match: re.Match[str]) -> list[Edit]:
    """All of a run or, where numbers stand beside what is encoded, what is between bytes that no text has."""
    data = bytes.fromhex(_HEX_DIGITS.sub("", match[0]))
    if len(data) < _HEX_BYTES_MIN:
        return []
    if (said := readable(data)) is not None:
        return [Edit(*match.span(), said)]
    edits = []
    for run in _HEX_OF_TEXT.finditer(match.string, *match.span()):
        data = bytes.fromhex(_HEX_DIGITS.sub("", run[0]))
        if len(data) >= _HEX_BYTES_MIN and (said := readable(data)) is not None:
            edits.append(Edit(*run.span(), said))
    return edits


def _groups(text: str) -> Iterator[list[re.Match[str]]]:
    """Scrambled words that follow one another with nothing but blanks between them."""
    group: list[re.Match[str]] = []
    for match in _BASE64.finditer(text):
        if not _SCRAMBLED.search(match[0]) or _HEX_WORD.fullmatch(match[0]):
            continue
        if group and (group[-1][0].endswith("=") or not _GAP.fullmatch(text, group[-1].end(), match.start())):
            yield group
            group = []
        group.append(match)
    if group:
        yield group


def _read_group(text: str, group: list[re.Match[str]]) -> list[Edit]:
    """All of a group together, or each word, or the parts of it between hyphens and slashes."""
    said = _decoded("".join(match[0] for match in group))
    if said is not None and (len(group) == 1 or "\ufffd" not in said):
        return [Edit(group[0].start(), group[-1].end(), said)]
    edits = []
    for match in group:
        said = _decoded(match[0]) if len(group) > 1 else None
        if said is not None:
            edits.append(Edit(*match.span(), said))
            continue
        for part in _BASE64_PART.finditer(text, *match.span()):
            if (said := _decoded(part[0])) is not None:
                edits.append(Edit(*part.span(), said))
    return edits


def _decoded(word: str) -> str | None:
    digits = word.rstrip("=").replace("-", "+").replace("_", "/")
    if len(digits) < _BASE64_MIN and len(word) < _BASE64_MIN:
        return None
    digits = digits[:-1] if len(digits) % 4 == 1 else digits
    return readable(base64.b64decode(digits + "=" * (-len(digits) % 4)))
