"""Texts and sources for tests of guards, and what came out of one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

from interlock_client import Withheld

from .conftest import AwaitedGuard

FINE = ["One fish. ", "Two fish. ", "Red ", "fish."]
BAD = ["One fish. ", "Two fish. ", "A ba", "d fish. ", "Blue fish."]


class Source:
    """A source that a test steers: it stops before the piece with that number until it may go on."""

    def __init__(self, pieces: list[str], stop_before: int = -1) -> None:
        self._pieces, self._stop_before = pieces, stop_before
        self.pulled = 0
        self.stopped, self.go_on, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[str]:
        try:
            for place, piece in enumerate(self._pieces):
                if place == self._stop_before:
                    self.stopped.set()
                    assert self.go_on.wait(60)
                self.pulled += 1
                yield piece
        except GeneratorExit:
            self.closed.set()
            raise


async def all_of(guard: AwaitedGuard) -> tuple[list[str], Withheld | None]:
    """What came out, and how it ended."""
    out = []
    try:
        async for text in guard:
            out.append(text)
    except Withheld as withheld:
        return out, withheld
    return out, None


async def asynchronous(pieces: list[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


async def within(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, 20)
