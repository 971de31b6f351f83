"""All readings of a text: canonical, with every code in it read in place, each payload by itself, and spelt as meant.

Codes are read one after the other, round by round, so that codes inside of codes are found; disguised spelling is
undone last. Where a limit is reached, reading stops and says so: no reading is left out in silence.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from interlock_server.text.canonical import canonical, cased
from interlock_server.text.ciphers import CIPHERS, solved
from interlock_server.text.escapes import escapes
from interlock_server.text.hidden import hidden
from interlock_server.text.payloads import base64_text, hex_text
from interlock_server.text.spelling import endless, leet, squeezed, unwrapped
from interlock_server.text.traced import Edit, Traced

ROUNDS_MAX = 3
READINGS_MAX = 64
DECODED_SHARE_MAX, DECODED_MIN = 8, 1_024

_CODES: tuple[tuple[str, Callable[[str], list[Edit]], str | None], ...] = (
    ("hidden", hidden, ""),  # what is between the pieces of a payload, or None where pieces are letters of a text
    ("escapes", escapes, None),
    ("hex", hex_text, "\n"),
    ("base64", base64_text, "\n"),
)


class Readings:
    """The readings of one text, each once, the text as it stands first. `complete` is False when that is not all of them."""

    def __init__(self, text: str) -> None:
        raw = Traced.whole(text)
        self.complete = True
        self._found = {text: ("raw", raw)}
        self._room = DECODED_SHARE_MAX * len(text) + DECODED_MIN
        canon = self._add("canonical", raw, weight=0)
        decoded = list(self._decode(raw, canon, ROUNDS_MAX))
        self.complete &= not any(endless(reading.text) for reading in decoded)
        # As it stands too: a disguised word may look like a code by chance, and nothing of it is left where that was read.
        for reading in {reading.text: reading for reading in (*decoded, canon)}.values():
            self._solve(reading)
            self._respell(reading)

    def __iter__(self) -> Iterator[tuple[str, Traced]]:
        return iter(self._found.values())

    def _add(self, name: str, source: Traced, weight: int = 1) -> Traced:
        """The canonical reading of a reading, which is kept unless the same was found before."""
        reading = canonical(source)
        if self.complete and reading.text not in self._found:
            self._room -= weight * len(reading.text)
            self.complete = self._room >= 0 and len(self._found) < READINGS_MAX
            if self.complete:
                self._found[reading.text] = (name, reading)
        return reading

    def _decode(self, whole: Traced, canon: Traced, rounds_left: int) -> Iterator[Traced]:
        """Every payload by itself, and the text with all codes read in place: both as deep as they go."""
        while self.complete:
            before, clean = whole, cased(whole, canon)
            for name, decode, between in _CODES:
                source = whole if name == "hidden" else clean
                edits = decode(source.text)
                if not edits:
                    continue
                if rounds_left == 0:
                    self.complete = False  # it is encoded deeper than anyone looks
                    return
                if between is not None:
                    payload = source.excerpts(edits, between)
                    yield from self._decode(payload, self._add(name, payload), rounds_left - 1)
                whole = source.edited(edits)
                canon = self._add(name, whole)
                clean = cased(whole, canon)
            if whole is before:
                yield canon
                return
            rounds_left -= 1

    def _solve(self, reading: Traced) -> None:
        """The reading without a cipher."""
        for name, cipher in CIPHERS.items():
            for edits in solved(name, reading.text):
                solution = reading.edited(edits)
                if cipher.moves:
                    ranges = ((reading.origins[edit.start], reading.origins[edit.end]) for edit in edits)
                    solution = replace(solution, blurred=tuple(ranges))
                self._add(name, solution)

    def _respell(self, reading: Traced) -> None:
        """The reading with letters for signs, without repeated letters or line breaks: eight more at most, which cost no room."""
        if edits := unwrapped(reading.text):
            self._add("unwrapped", reading.edited(edits), weight=0)
        for letters in squeezed(reading.text):
            self._add("squeezed", reading.edited(letters), weight=0)
        for letters in leet(reading.text):
            spelt = self._add("leet", reading.edited(letters), weight=0)
            for more in islice(squeezed(spelt.text), 1):
                self._add("squeezed", spelt.edited(more), weight=0)
