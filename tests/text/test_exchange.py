"""The exchange: bytes become text, or nothing; and turns become a prompt."""

import pytest
from interlock_server.text.exchange import Exchange, decode, joined_turns


@pytest.mark.parametrize("text", [b"\xff", b"caf\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"a\0b"])
def test_bytes_that_are_no_text_are_not_decoded(text: bytes):
    """Broken, cut, surrogate and overlong UTF-8, and a NUL."""
    assert decode(text) is None


def test_utf8_is_decoded():
    """As it is, without any normalisation."""
    assert "ﬁé😀" == decode("ﬁé😀".encode())


def test_views_are_made_once():
    """Every lane reads the same ones."""
    exchange = Exchange("", "STABBED")

    assert exchange.views is exchange.views


def test_the_size_of_a_completion_is_in_bytes():
    """Coverage is counted in what the caller sent."""
    assert 6 == Exchange("", "é😀").completion_bytes


def test_turns_become_lines():
    """Oldest first, each with its speaker where that is known."""
    assert "user: Hi\nassistant: Hello\nOh" == joined_turns([("user", "Hi"), ("assistant", "Hello"), ("", "Oh")])
