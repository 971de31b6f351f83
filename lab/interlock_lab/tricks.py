"""The tricks with text that views must see through: each takes plain text and hides it from a careless reader.

Whoever attacks may use them; here they measure whether a trick turns a withheld text into a released one, and give the encoder
texts that look strange without being harmful. All are pure and deterministic.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from urllib.parse import quote

Trick = Callable[[str], str]

_CYRILLIC = str.maketrans("aeopcyxiABEHKMOPCTX", "аеорсухіАВЕНКМОРСТХ")
_LEET = str.maketrans("aeiost", "431057")
_LEET_SYMBOLS = str.maketrans("aios", "@!0$")
_FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_SMALL_CAPITALS = str.maketrans("abcdeghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")


def _after_each(mark: str, every: int = 1) -> Trick:
    """Puts `mark` behind every n-th letter or sign that is followed by another one."""

    def trick(text: str) -> str:
        pieces = []
        for place, character in enumerate(text):
            inside = character.isalnum() and text[place + 1 : place + 2].isalnum()
            pieces.append(character + mark if inside and place % every == 0 else character)
        return "".join(pieces)

    return trick


def _shifted(upper: int, lower: int) -> Trick:
    table = {ord("A") + n: upper + n for n in range(26)} | {ord("a") + n: lower + n for n in range(26)}
    return lambda text: text.translate(table)


def _spaced(text: str) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _repeated(text: str) -> str:
    """Every vowel inside a word, drawn out."""
    drawn = _after_each("")
    return "".join(
        ch * 4 if ch in "aeiou" and 0 < place < len(text) - 1 else ch for place, ch in enumerate(drawn(text))
    )


def _tags(text: str) -> str:
    return "Here you are." + "".join(chr(0xE0000 + ord(ch)) for ch in text if " " <= ch <= "~")


def _variation_selectors(text: str) -> str:
    """The bytes of the text, each as a variation selector behind a harmless picture."""
    return "Here you are \N{SMILING FACE WITH SMILING EYES}" + "".join(
        chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in text.encode()
    )


def _base64_word(text: str) -> str:
    """The longer words alone are encoded, so that the sentence around them stays readable."""
    return " ".join(base64.b64encode(word.encode()).decode() if len(word) > 5 else word for word in text.split())


TRICKS: dict[str, Trick] = {
    "zero-width space": _after_each("\u200b"),
    "zero-width joiner": _after_each("\u200d", 2),
    "soft hyphen": _after_each("\u00ad", 3),
    "word joiner": _after_each("\u2060"),
    "combining marks": _after_each("\u0336"),
    "bidirectional override": lambda text: f"\u202e{text[::-1]}\u202c",
    "bidirectional isolates": _after_each("\u2066\u2069", 2),
    "unicode tags": _tags,
    "variation selectors": _variation_selectors,
    "fullwidth": lambda text: text.translate(_FULLWIDTH),
    "mathematical bold": _shifted(0x1D400, 0x1D41A),
    "circled letters": _shifted(0x24B6, 0x24D0),
    "small capitals": lambda text: text.lower().translate(_SMALL_CAPITALS),
    "cyrillic confusables": lambda text: text.translate(_CYRILLIC),
    "leet": lambda text: text.translate(_LEET),
    "leet with symbols": lambda text: text.translate(_LEET_SYMBOLS),
    "capitals": str.upper,
    "spaced letters": _spaced,
    "dotted letters": lambda text: " ".join(".".join(word) for word in text.split()),
    "repeated letters": _repeated,
    "line break per word": lambda text: "\n".join(text.split()),
    "no blanks": lambda text: "".join(text.split()),
    "wide blanks": lambda text: "\u00a0\u2003 ".join(text.split()),
    "html entities": lambda text: "".join(f"&#{ord(ch)};" for ch in text),
    "html entities, hexadecimal": lambda text: "".join(f"&#x{ord(ch):x};" if ch.isalpha() else ch for ch in text),
    "url escapes": lambda text: quote(text, safe=""),
    "url escapes of every letter": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "backslash escapes": lambda text: "".join(f"\\u{ord(ch):04x}" if ord(ch) < 0x10000 else ch for ch in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of words": _base64_word,
    "base64 of base64": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "reversed words": lambda text: " ".join(word[::-1] for word in text.split()),
}
