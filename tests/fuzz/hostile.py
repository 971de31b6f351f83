"""What an attacker sends: bytes at random, and good ones with something wrong in them. No example is judged by a clock."""

import resource
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_EXAMPLES = 40
GROWTH_MAX_MB = 1_000  # what thousands of examples take by themselves is some hundreds

Test = TypeVar("Test", bound=Callable[..., Any])


def fuzzed(test: Test) -> Test:
    """A few examples, or as many as the profile of `make fuzz` says."""
    thorough = settings.get_current_profile_name() == "fuzz"
    unhurried: Test = settings(
        max_examples=settings.default.max_examples if thorough else _EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )(test)
    return unhurried


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(0x80 | number & 0x7F)
        number >>= 7
    return bytes([*written, number])


def _field(number: int, wire_type: int, content: bytes) -> bytes:
    size = varint(len(content)) if wire_type == 2 else b""
    return varint(number << 3 | wire_type) + size + content


def _nested(fields: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    whole = st.lists(fields, max_size=5).map(b"".join)
    return st.builds(_field, st.integers(1, 20), st.just(2), whole)


_LEAVES = st.one_of(
    st.builds(_field, st.integers(0, 40), st.just(0), st.integers(0, 2**70).map(varint)),
    st.builds(_field, st.integers(1, 20), st.just(1), st.binary(min_size=8, max_size=8)),
    st.builds(_field, st.integers(1, 20), st.just(2), st.binary(max_size=40)),
    st.builds(_field, st.integers(1, 20), st.just(2), st.text(max_size=40).map(str.encode)),
    st.builds(_field, st.integers(1, 20), st.sampled_from([3, 4, 5, 6, 7]), st.binary(max_size=4)),
)
wire = st.lists(st.recursive(_LEAVES, _nested, max_leaves=12), max_size=8).map(b"".join)
"""Fields of any number and type, which parse more often than not."""

_TOKENS = [
    b"\0",
    b"\xff",
    b"\n",
    b"- ",
    b": ",
    b"[",
    b"{",
    b"}",
    b'"',
    b"&a ",
    b"*a",
    b"NaN",
    b"1e999",
    b"-1",
    b"null",
    b"~",
]
_TOKENS += [b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"!!python/object/apply:os.abort []", b"[" * 1_200, b"{a: " * 400]


@st.composite
def damaged(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the originals, with a few places overwritten, doubled, cut out or filled with something else."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        piece = content[start:end]
        put = draw(st.one_of(st.just(b""), st.just(piece + piece), st.binary(max_size=8), st.sampled_from(_TOKENS)))
        content = content[:start] + put + content[end:]
    return content


def memory_peak_mb() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
