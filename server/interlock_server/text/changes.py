"""What is new in a view: a later view is worth reading only where it shows something that no view before it shows."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from interlock_server.text.traced import Span
from interlock_server.text.views import View


def changed_parts(views: Sequence[View], uncased: bool) -> list[View]:
    """The first view and, of each later one, the sentences that no view before it shows, with a neighbour on each side.

    `uncased` is for readers to whom capitals are small letters. One blank or two is the same to all,
    a line break is not: it ends a sentence.
    """
    parts = list(views[:1])
    # Most texts have a second view that differs in capitals only, which costs a look at neither.
    texts = {_folded(view.text, uncased) for view in parts}
    others = [view for view in views[1:] if _folded(view.text, uncased) not in texts]
    if not others:
        return parts
    looks = {"", *(_look(view.text, uncased) for view in parts)}
    shown: set[tuple[str, str]] = set()
    for view in others:
        look = _look(view.text, uncased)
        if look in looks:
            continue
        looks.add(look)
        shown = shown or set(_pairs(views[0], views[0].sentences, uncased))
        spans = view.sentences
        pairs = _pairs(view, spans, uncased)
        for first, last in _runs([pair not in shown for pair in pairs]):
            parts.append(view.part(spans[first][0], spans[last][1]))
        shown.update(pairs)
    return parts


def _folded(text: str, uncased: bool) -> str:
    return text.lower() if uncased else text


def _look(text: str, uncased: bool) -> str:
    lines = (" ".join(line.split()) for line in _folded(text, uncased).splitlines())
    return "\n".join(filter(None, lines))


def _pairs(view: View, spans: Sequence[Span], uncased: bool) -> list[tuple[str, str]]:
    """Each sentence with the one before it: a sentence that is new there is new, and so is the one after it."""
    return list(pairwise(["", *(_look(view.text[start:end], uncased) for start, end in spans)]))


def _runs(new: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last sentence of each run of new ones, with the sentence before."""
    starts = [place for place, (before, here) in enumerate(pairwise([False, *new])) if here and not before]
    for start in starts:
        end = next((place for place in range(start, len(new)) if not new[place]), len(new))
        yield max(start - 1, 0), end - 1
