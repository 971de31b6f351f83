"""The text under judgement, decoded and read once. Nothing here knows a model."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TypeVar

from interlock_server.text.views import View, Views, views_of

_T = TypeVar("_T")


class _Once:
    """A value that is made by the first thread that asks for it, while the others wait."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.made: list[object] = []


@dataclass(frozen=True)
class Exchange:
    """A prompt and a completion as valid Unicode, with `views`, the readings of the completion."""

    prompt: str
    completion: str
    _shared: dict[Hashable, _Once] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` returns, made once for all members that ask with the same key, such as a view's tokens."""
        place = self._shared.setdefault(key, _Once())
        with place.lock:
            if not place.made:
                place.made.append(make())
        return place.made[0]  # type: ignore[return-value]

    @cached_property
    def _read(self) -> Views:
        return views_of(self.completion)

    @property
    def views(self) -> tuple[View, ...]:
        """The raw view first, then every other reading that differs from it."""
        return self._read.all

    @property
    def canonical(self) -> View:
        """The canonical view, which is the raw one where the two are the same."""
        return next((view for view in self.views[1:2] if view.name == "canonical"), self.views[0])

    @property
    def unreadable(self) -> bool:
        """There is more hidden in the completion than is read of any; its views are not all that could be seen in it."""
        return not self._read.complete

    @cached_property
    def completion_bytes(self) -> int:
        """Length of the completion in UTF-8."""
        return self.views[0].byte_offset(len(self.completion))


def decode(text: bytes) -> str | None:
    """The text, or None when it is not UTF-8 or holds a NUL, at which C code behind a model may stop reading."""
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in decoded else decoded


def joined_turns(turns: list[tuple[str, str]]) -> str:
    """Earlier turns as one prompt: `speaker: text`, one a line, oldest first."""
    return "\n".join(f"{speaker}: {text}" if speaker else text for speaker, text in turns)
