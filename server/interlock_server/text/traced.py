"""A text that knows where each of its characters came from, so that a window of any reading can be shown in the original."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

Span = tuple[int, int]


class Edit(NamedTuple):
    """Characters [start, end) read as `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Traced:
    """`origins` has, for each character and for the end, its position in the original; it never goes back."""

    text: str
    origins: Sequence[int]
    blurred: tuple[Span, ...] = ()
    """Ranges of the original, apart and in order, inside which origins are known only as a whole: what was reversed."""

    @classmethod
    def whole(cls, text: str) -> "Traced":
        """An original: every character came from where it is."""
        return cls(text, range(len(text) + 1))

    def drawn(self, text: str, places: Sequence[int]) -> "Traced":
        """Another text, whose characters come from these places of this one."""
        same = isinstance(places, range) and len(places) == len(self.origins)
        return replace(self, text=text, origins=self.origins if same else [self.origins[place] for place in places])

    def edited(self, edits: Sequence[Edit]) -> "Traced":
        """This text with the edits made, which are in order and apart."""
        pieces: list[str] = []
        origins: list[int] = []
        at = 0
        for edit in edits:
            pieces += [self.text[at : edit.start], edit.text]
            origins += self.origins[at : edit.start]
            origins += self._spread(edit)
            at = edit.end
        return replace(self, text="".join([*pieces, self.text[at:]]), origins=[*origins, *self.origins[at:]])

    def excerpts(self, edits: Sequence[Edit], between: str) -> "Traced":
        """What the edits say, without the text around them."""
        origins: list[int] = []
        for edit in edits:
            origins += self._spread(edit)
            origins += [self.origins[edit.end]] * len(between)
        text = between.join(edit.text for edit in edits)
        return replace(self, text=text, origins=[*origins[: len(text)], self.origins[edits[-1].end]])

    def _spread(self, edit: Edit) -> Sequence[int]:
        """An origin for each new character: its own where the lengths are equal, else in proportion."""
        size = len(edit.text)
        if size == edit.end - edit.start:
            return self.origins[edit.start : edit.end]
        first, last = self.origins[edit.start], self.origins[edit.end]
        return [first + (last - first) * place // size for place in range(size)]
