"""Texts made to break whoever reads them: every one is read, or said to be unreadable, with bounded work and bounded results."""

import sys
from types import FrameType
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from interlock_server.text.exchange import Exchange, decode
from interlock_server.text.scripts import in_known_script

from .hostile import fuzzed

VIEWS_MAX = 64
DECODED_SHARE_MAX, DECODED_MIN = 8, 1_024  # docs/architecture.md: decoded text against the original
CALLS_PER_CHARACTER, CALLS_MIN = 150, 20_000
"""Work is counted in calls, of Python and of C: a quadratic loop meets it, a busy machine does not."""

PIECES = [
    "aGVsbG8gd29ybGQ=", "68656c6c6f", "%68%65", "&#104;", "&amp;amp;", "\\u0068", "\\x68", "uryyb jbeyq", "olleh", "k1ll",
    "h e l l o", "\u0301", "\u200b", "\u202e", "\U000e0041", "\ufe0f", "ﬁ", "ℌ", "а", "．", "=?utf-8?", "\r\n", "\u2028", "ß",
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=400),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=40).map("".join),
    st.builds(lambda piece, times: piece * times, st.sampled_from(PIECES), st.integers(1, 400)),
    st.builds(
        lambda a, b, times: (a + b) * times, st.sampled_from(PIECES), st.sampled_from(PIECES), st.integers(1, 100)
    ),
)


class Work:
    """Counts calls while it is entered."""

    def __init__(self) -> None:
        self.calls = 0

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")

    def __enter__(self) -> "Work":
        self._before = sys.getprofile()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)


@fuzzed
@example("&amp;" * 400)
@example("a_." * 400)
@example("He s" + "\u0301" * 3_000 + "tabbed her.")
@example("%25" * 400)
@given(texts)
def test_a_text_is_read_within_bounds(text: str):
    """Views, their sizes, and the work of making them."""
    with Work() as work:
        exchange = Exchange("", text)
        views = exchange.views
        for view in views:
            in_known_script(view.text)
            list(view.sentences)

    assert text == views[0].text
    assert len(views) <= VIEWS_MAX
    longest = max(len(view.text) for view in views)
    assert longest <= DECODED_SHARE_MAX * len(text) + DECODED_MIN
    assert work.calls <= CALLS_PER_CHARACTER * len(text) + CALLS_MIN


@fuzzed
@given(texts)
def test_every_view_knows_which_bytes_it_shows(text: str):
    """Spans lie within the text, whatever it is."""
    size = len(text.encode("utf-8", "surrogatepass"))
    for view in Exchange("", text).views:
        start, end = view.byte_span(0, len(view.text))
        assert 0 <= start <= end <= size


@fuzzed
@example(b"\xed\xa0\x80")
@example(b"a\0b")
@given(st.binary(max_size=400))
def test_bytes_are_a_text_or_none(content: bytes):
    """And what is one comes back as the same bytes."""
    text = decode(content)

    assert text is None or content == text.encode()
