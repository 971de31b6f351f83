"""What a reader could see in a text: the raw view, the canonical one, and whatever is written in it in some code.

The worst view counts, so that no view can lower a score; every view knows which bytes of the original it shows.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import inf
from typing import NamedTuple

from interlock_server.text.decoding import Readings
from interlock_server.text.traced import Span, Traced
from interlock_server.text.windows import split_sentences


@dataclass(frozen=True, eq=False)
class View:
    """One reading. `offsets` has, for each character and for the end, its byte offset in the original completion."""

    name: str
    text: str
    offsets: Sequence[int]
    blurred: tuple[Span, ...] = ()
    """Bytes of the original of which only as a whole is known what they became, such as a reversed sentence."""

    @cached_property
    def sentences(self) -> Sequence[Span]:
        """The spans of its sentences, in characters; found once for all who read it."""
        return split_sentences(self.text)

    def byte_span(self, start: int, end: int) -> Span:
        """The bytes of the original that the characters [start, end) stand for."""
        return self._around(self.offsets[start])[0], self._around(self.offsets[end])[1]

    def byte_offset(self, position: int) -> int:
        """The byte offset in the original of one character, or of the end."""
        return self.offsets[position]

    def part(self, start: int, end: int) -> "View":
        """The characters [start, end) as a view of their own."""
        return View(self.name, self.text[start:end], self.offsets[start : end + 1], self.blurred)

    def _around(self, offset: int) -> Span:
        place = bisect_right(self.blurred, (offset, inf)) - 1
        inside = place >= 0 and self.blurred[place][0] < offset < self.blurred[place][1]
        return self.blurred[place] if inside else (offset, offset)


class Views(NamedTuple):
    """The raw view first, the canonical one second where it differs, then the decoded ones."""

    all: tuple[View, ...]
    complete: bool
    """False when there is more to read than the limits allow: such a text must not be taken for read."""


def views_of(text: str) -> Views:
    """Every reading of a text, each once."""
    readings = Readings(text)
    offsets = range(len(text) + 1) if text.isascii() else array("L", _utf8_offsets(text))
    return Views(tuple(_view(name, reading, offsets) for name, reading in readings), readings.complete)


def _view(name: str, reading: Traced, offsets: Sequence[int]) -> View:
    if isinstance(offsets, range):  # bytes are characters
        return View(name, reading.text, reading.origins, reading.blurred)
    blurred = tuple((offsets[start], offsets[end]) for start, end in reading.blurred)
    return View(name, reading.text, array("L", [offsets[origin] for origin in reading.origins]), blurred)


def _utf8_offsets(text: str) -> Sequence[int]:
    widths = (1 if ch < "\x80" else 2 if ch < "\u0800" else 3 if ch < "\U00010000" else 4 for ch in text)
    return list(accumulate(widths, initial=0))
