"""When a change counts as settled."""

from interlock_server.reload.watch import Settling


def test_a_change_is_taken_once_after_it_has_stayed():
    """And not while somebody writes."""
    settling = Settling("old", settle_s=2.0)
    seen = [("old", 0.0), ("half", 1.0), ("new", 2.0), ("new", 3.9), ("new", 4.0), ("new", 9.0)]

    assert [False, False, False, False, True, False] == [settling.settled(*each) for each in seen]


def test_a_change_that_was_taken_back_is_none():
    """It was never in force."""
    settling = Settling("old", settle_s=1.0)
    seen = [("new", 0.0), ("old", 0.5), ("old", 5.0)]

    assert [False, False, False] == [settling.settled(*each) for each in seen]


def test_what_was_refused_and_is_put_back_is_a_change():
    """The server still has the good one, and says so again."""
    settling = Settling("old", settle_s=0.0)

    assert [True, False, True] == [settling.settled(*each) for each in (("bad", 0.0), ("bad", 1.0), ("old", 2.0))]
