"""Counts what is under way, refuses what is too much, and knows when nothing is left to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from interlock_server.metrics import Metrics
from interlock_server.streaming import GrowingCompletion
from interlock_server.transport.stream import Stream


class Admission:
    """The requests in flight and the open streams of one server. `idle` is set while there are none."""

    def __init__(self, in_flight_max: int, growing_max: int, metrics: Metrics) -> None:
        self._in_flight_max = in_flight_max
        self._growing_max = growing_max
        self._in_flight = 0
        self._streams: set[Stream] = set()
        self._growing: set[GrowingCompletion] = set()
        self._refused = metrics.admission_refused
        # Read on a scrape, not written on every request.
        metrics.in_flight.set_function(lambda: self._in_flight)
        metrics.streams_active.set_function(lambda: len(self._growing))
        metrics.stream_held_bytes.set_function(lambda: sum(each.held_bytes for each in list(self._growing)))
        self.idle = asyncio.Event()
        self.idle.set()
        self.draining = False

    def enter(self) -> bool:
        """Counts a request in, also one that there is no room for (False); `leave` follows in any case."""
        self._in_flight += 1
        self.idle.clear()
        if self._in_flight <= self._in_flight_max:
            return True
        self._refused.labels("in_flight").inc()
        return False

    def leave(self) -> None:
        """Counts a request out."""
        self._in_flight -= 1
        self._rest()

    @contextmanager
    def open(self, stream: Stream) -> Iterator[None]:
        """Counts a stream: its last answers still have to be sent when no request is in flight."""
        self._streams.add(stream)
        self.idle.clear()
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._rest()

    def may_grow(self) -> bool:
        """Whether there is room for one more completion that is being written."""
        if len(self._growing) < self._growing_max:
            return True
        self._refused.labels("growing").inc()
        return False

    @contextmanager
    def growing(self, completion: GrowingCompletion) -> Iterator[None]:
        """Counts a completion that is being written. While the server drains, it may come to its end."""
        self._growing.add(completion)
        self.idle.clear()
        try:
            yield
        finally:
            self._growing.discard(completion)
            self._rest()

    def drain(self) -> None:
        """Ends all streams once they have answered what they have read; they would not end by themselves."""
        self.draining = True
        for stream in self._streams:
            stream.end()

    def _rest(self) -> None:
        if not (self._in_flight or self._streams or self._growing):
            self.idle.set()
