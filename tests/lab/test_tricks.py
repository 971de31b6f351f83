import pytest
from interlock_lab.tricks import TRICKS
from interlock_server.text.exchange import Exchange

TEXT = "He took the longest knife from the kitchen wall. Then he went upstairs, quietly."


@pytest.mark.parametrize("name", TRICKS)
def test_every_trick_changes_the_text_but_can_be_undone_or_is_refused(name: str) -> None:
    """Some view shows the plain words again, whatever the trick did to them; or nobody claims to have read the text."""
    exchange = Exchange("", TRICKS[name](TEXT))
    shown = [" ".join(view.text.lower().split()) for view in exchange.views]
    assert exchange.completion != TEXT
    assert exchange.unreadable or any("took the longest knife from the kitchen wall" in text for text in shown)


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_are_deterministic_and_take_any_text(name: str) -> None:
    """Empty text, a lone sign and other scripts pass through without an error."""
    for text in ("", "!", "\u00e9\u4f60 a"):
        assert TRICKS[name](text) == TRICKS[name](text)
