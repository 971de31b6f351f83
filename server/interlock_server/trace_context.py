"""W3C trace context: to which trace what happens now belongs. Ids and a flag, and nothing else that a caller can write.

`tracestate` is neither read nor passed on: it may hold any text.
"""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

Pairs = tuple[tuple[str, str], ...]
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_BINARY_SIZE = 29


@dataclass(slots=True, eq=False)
class TraceContext:
    """A span and its trace. `sampled` may become true while it lasts, when what happens turns out to be worth keeping."""

    trace_id: str
    span_id: str
    sampled: bool
    parent: Self | None = None

    def child(self, name: str = "") -> "TraceContext":
        """A span below it. One with a name has the same id whenever it is asked for, so that nobody has to pass it around."""
        derived = blake2b((self.span_id + name).encode(), digest_size=8).hexdigest() if name else _id(64)
        return TraceContext(self.trace_id, derived, self.sampled, self)

    def keep(self) -> None:
        """The trace is worth keeping, as far as it is not over."""
        context: TraceContext | None = self
        while context is not None:
            context.sampled = True
            context = context.parent

    @property
    def traceparent(self) -> str:
        """As others are told."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


CURRENT: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
"""What the RPC that is served, or the call that is made, in this task belongs to."""


def new_trace(sample_ratio: float) -> TraceContext:
    """A trace of our own, kept as often as asked for."""
    return TraceContext(_id(128), _id(64), random.random() < sample_ratio)


def incoming(metadata: Iterable[tuple[str, str | bytes]]) -> TraceContext | None:
    """The caller's span, if there is one that can be understood; `traceparent` goes before gRPC's binary form of it."""
    found: dict[str, str | bytes] = {}
    for key, value in metadata:
        if key in ("traceparent", "grpc-trace-bin"):
            found[key] = b"" if key in found else value  # two of them say nothing
    parsed = _parsed(found.get("traceparent"))
    return parsed or _parsed_binary(found.get("grpc-trace-bin"))


def outgoing() -> Pairs:
    """What a call to another service is to carry."""
    context = CURRENT.get()
    return () if context is None else (("traceparent", context.traceparent),)


def _parsed(value: str | bytes | None) -> TraceContext | None:
    match = _TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "00" and more:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def _parsed_binary(value: str | bytes | None) -> TraceContext | None:
    """Version 0 with its three fields: the ids and the flags, each after its number."""
    if not isinstance(value, bytes) or len(value) != _BINARY_SIZE:
        return None
    if (value[:2], value[18:19], value[27:28]) != (b"\0\0", b"\1", b"\2"):
        return None
    return _parsed(f"00-{value[2:18].hex()}-{value[19:27].hex()}-{value[28]:02x}")


def _id(bits: int) -> str:
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"
