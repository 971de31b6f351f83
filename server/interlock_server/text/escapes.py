"""Escapes that stand for single characters: of HTML (`&#105;`), of URLs (`%69`) and of programs (`\\u0069`, `\\x69`)."""

import html
import re
from collections.abc import Callable, Mapping

from interlock_server.text.traced import Edit

# Runs that spell one character together (UTF-8, surrogates) are one match. Every part is of bounded length or gives
# nothing back (`++`), so that 60,000 percent signs take no square of the time.
_ESCAPES = re.compile(
    r"&\#0*+(?P<decimal>[0-9]{1,7}+);?"
    r"|&\#[xX]0*+(?P<hex>[0-9a-fA-F]{1,6}+);?"
    r"|(?P<named>&[A-Za-z][A-Za-z0-9]{1,31}+;?)"
    r"|(?P<url>(?:%[0-9A-Fa-f]{2})++)"
    r"|(?P<byte>(?:\\[xX][0-9A-Fa-f]{2})++)"
    r"|(?P<octal>(?:\\[0-3][0-7]{2})++)"
    r"|(?P<unit>(?:[\\%]u[0-9A-Fa-f]{4})++)"
    r"|\\u\{(?P<braced>[0-9A-Fa-f]{1,6})\}"
    r"|\\U(?P<long>[0-9A-Fa-f]{8})"
)


def escapes(text: str) -> list[Edit]:
    """Every escape with the characters that it stands for."""
    if not any(mark in text for mark in "&%\\"):
        return []
    edits = []
    for match in _ESCAPES.finditer(text):
        said = _READERS[str(match.lastgroup)](match[str(match.lastgroup)])
        if said and said != match[0]:
            edits.append(Edit(*match.span(), said))
    return edits


def _numbered(code: int) -> str:
    return html.unescape(f"&#{code};")  # as browsers do: no surrogates, no control characters


def _bytes(data: bytes) -> str:
    """As UTF-8 or, where it is not that, as Latin-1, which gives every byte a meaning."""
    said = data.decode("utf-8", "replace")
    return data.decode("latin-1") if "\ufffd" in said else said


def _units(run: str) -> str:
    data = b"".join(int(run[place + 2 : place + 6], 16).to_bytes(2, "big") for place in range(0, len(run), 6))
    return data.decode("utf-16-be", "ignore")


_READERS: Mapping[str, Callable[[str], str]] = {
    "decimal": lambda digits: _numbered(int(digits)),
    "hex": lambda digits: _numbered(int(digits, 16)),
    "named": html.unescape,
    "url": lambda run: _bytes(bytes.fromhex(run.replace("%", ""))),
    "byte": lambda run: _bytes(bytes(int(run[place + 2 : place + 4], 16) for place in range(0, len(run), 4))),
    "octal": lambda run: _bytes(bytes(int(run[place + 1 : place + 4], 8) for place in range(0, len(run), 4))),
    "unit": _units,
    "braced": lambda digits: _numbered(int(digits, 16)),
    "long": lambda digits: _numbered(int(digits, 16)),
}
