"""Generate, select, try again, give up: the loop around a generator, without I/O.

It yields what to do next, `Draw` or `Choose`, and is sent the completions, or their Selection.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from itertools import islice

from .requests import Text
from .selecting import Selection
from .verdict import Enforcement, Fallback, Verdict, fallback_text


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What to show. `if generated:` is True only when it is a completion that was released.

    `verdict` is on the completion; with the fallback it is the first one of the last round; None: nothing was judged.
    """

    text: Text = field(repr=False)
    verdict: Verdict | None
    is_fallback: bool
    rounds_used: int
    selections: list[Selection]

    def __bool__(self) -> bool:
        return not self.is_fallback and bool(self.verdict)


@dataclass(frozen=True)
class Draw:
    """Call the generator."""

    count: int


@dataclass(frozen=True)
class Choose:
    """Ask which of these to release."""

    candidates: list[Text] = field(repr=False)


Loop = Generator[Draw | Choose, list[Text] | Selection, Generated]


def loop(count: int, rounds: int, fallback: Fallback, enforcement: Enforcement) -> Loop:
    """Rounds of `count` completions until one is released. In observe mode the first round ends it: everything goes out."""
    selections: list[Selection] = []
    rounds_used = 0
    while rounds_used < rounds:
        rounds_used += 1
        candidates = yield Draw(count)
        assert isinstance(candidates, list)
        if not candidates:
            continue
        selection = yield Choose(candidates)
        assert isinstance(selection, Selection)
        selections.append(selection)
        index = 0 if selection.index is None and enforcement == "observe" else selection.index
        if index is not None:
            return Generated(
                text=candidates[index],
                verdict=selection.verdicts[index],
                is_fallback=False,
                rounds_used=rounds_used,
                selections=selections,
            )
    verdict = selections[-1].verdicts[0] if selections else None
    text = fallback_text(fallback, verdict if verdict is not None else Verdict())
    return Generated(text=text, verdict=verdict, is_fallback=True, rounds_used=rounds_used, selections=selections)


def candidates_of(drawn: Iterable[Text] | Text, count: int) -> list[Text]:
    """What a generator returned, one text or several, and no more than it was asked for."""
    return [drawn] if isinstance(drawn, str | bytes) else list(islice(drawn, count))
