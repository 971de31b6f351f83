"""Text in characters that nobody sees: tags, which mirror ASCII, and variation selectors, which can stand for bytes."""

import re

from interlock_server.text.traced import Edit

_HIDDEN = re.compile("[\U000e0020-\U000e007e]+|[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
_TAGS = 0xE0000
_FIRST_SELECTORS, _LATER_SELECTORS = 0xFE00, 0xE0100 - 16


def hidden(text: str) -> list[Edit]:
    """Every run of such characters that says something. Selectors after an emoji or an ideograph say nothing."""
    if text.isascii():
        return []
    runs = ((match.span(), _said(match[0])) for match in _HIDDEN.finditer(text))
    return [Edit(*span, said) for span, said in runs if said]


def _said(run: str) -> str:
    if "\U000e0020" <= run[0] <= "\U000e007e":
        return "".join(chr(ord(ch) - _TAGS) for ch in run)
    data = bytes(ord(ch) - (_FIRST_SELECTORS if ch <= "\ufe0f" else _LATER_SELECTORS) for ch in run)
    return "".join(ch for ch in data.decode("utf-8", "ignore") if ch.isprintable() or ch in "\t\n")
