"""The text under judgement, decoded and read once. Nothing here knows a model."""

from dataclasses import dataclass
from functools import cached_property

from interlock_server.text.views import View, views_of


@dataclass(frozen=True)
class Exchange:
    """A prompt and a completion as valid Unicode, with `views`, the readings of the completion."""

    prompt: str
    completion: str

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The raw view first, then every other reading that differs from it."""
        return views_of(self.completion)

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
