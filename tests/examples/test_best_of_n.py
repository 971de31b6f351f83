"""The loop that users copy: what it shows when some answers, or all of them, are withheld."""

from end_to_end.server import Server

from .conftest import run


def test_it_shows_the_one_that_is_released(interlock: Server):
    """Of three about the kitchen two are harmful."""
    printed = run("best_of_n.py", "--interlock", interlock.target)

    assert "made them both laugh." in printed
    assert "Ring the bell" in printed
    assert "knife" not in printed


def test_it_gives_up(interlock: Server):
    """After two rounds."""
    printed = run("best_of_n.py", "--interlock", interlock.target, "--count", "1")

    assert 2 == printed.count("I can't help with that.")
    assert "went on board." in printed


def test_without_interlock_nothing_comes_out():
    """Not even what is fine."""
    printed = run("best_of_n.py", "--interlock", "127.0.0.1:1")

    assert 3 == printed.count("I can't help with that.")
