"""Admission: yes only to what is predicted to be done in time, and the sooner no the more is ahead."""

from hypothesis import given
from hypothesis import strategies as st
from interlock_server.inference.admission import may_begin, may_go_on

SECONDS = st.floats(0, 100)
LANES = st.integers(1, 64)
SHARE = st.floats(0.1, 1)
SIZE = st.integers(0, 100_000)


@given(SECONDS, SECONDS, SECONDS, SECONDS, LANES, SHARE, SIZE)
def test_more_work_ahead_never_turns_a_no_into_a_yes(ahead_s, more_s, own_s, left_s, lanes, share, size_bytes):
    """The wait only grows."""
    fixed = {"own_s": own_s, "left_s": left_s, "lanes": lanes, "share": share, "size_bytes": size_bytes}

    assert may_begin(ahead_s=ahead_s, **fixed) or not may_begin(ahead_s=ahead_s + more_s, **fixed)


@given(SECONDS, SECONDS, SECONDS, SECONDS, LANES, SHARE, SIZE)
def test_more_time_never_turns_a_yes_into_a_no(ahead_s, more_s, own_s, left_s, lanes, share, size_bytes):
    """A patient caller is served when a hasty one is."""
    fixed = {"own_s": own_s, "ahead_s": ahead_s, "lanes": lanes, "share": share, "size_bytes": size_bytes}

    assert not may_begin(left_s=left_s, **fixed) or may_begin(left_s=left_s + more_s, **fixed)


@given(SECONDS, SECONDS, LANES, SHARE, SIZE)
def test_nothing_begins_that_cannot_end_in_time(ahead_s, own_s, lanes, share, size_bytes):
    """All lanes together do what is ahead at best."""
    left_s = (ahead_s + own_s) / lanes * 0.99 - 1e-9

    assert not may_begin(ahead_s=ahead_s, own_s=own_s, left_s=left_s, lanes=lanes, share=share, size_bytes=size_bytes)


def test_a_short_text_is_one_lanes_work():
    """Many lanes make it no faster."""
    fixed = {"ahead_s": 0.0, "own_s": 0.1, "lanes": 8, "share": 1.0, "left_s": 0.05}

    assert (False, True) == (may_begin(size_bytes=500, **fixed), may_begin(size_bytes=8_000, **fixed))


@given(SECONDS, st.floats(-100, 0), st.booleans())
def test_nothing_goes_on_after_its_deadline(next_s, left_s, others_wait):
    """Also when nobody else waits."""
    assert not may_go_on(next_s=next_s, left_s=left_s, others_wait=others_wait)


def test_a_hopeless_step_is_taken_only_when_nobody_waits():
    """The prediction may be wrong, and only a run can mend it."""
    found = [may_go_on(next_s=2.0, left_s=1.0, others_wait=others_wait) for others_wait in (True, False)]

    assert [False, True] == found
