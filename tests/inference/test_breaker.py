"""The breaker: opens after failures in a row, lets one probe through, and never stays shut for ever."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.inference.breaker import CLOSED, HALF_OPEN, OPEN, Breaker

FRESH = Breaker(failures_max=3, open_s=10.0)
EVENTS = ("ask", "succeeded", "failed", "abandoned", "wait")


def after(events: Sequence[str], breaker: Breaker = FRESH) -> tuple[Breaker, float]:
    """The breaker after these events, and the time it is then; `wait` takes 4 seconds."""
    now_s = 100.0
    for event in events:
        if event == "wait":
            now_s += 4.0
        elif event == "ask":
            breaker = breaker.ask(now_s)[0]
        else:
            breaker = breaker.failed(now_s) if event == "failed" else getattr(breaker, event)()
    return breaker, now_s


@pytest.mark.parametrize(
    ("events", "state", "allowed"),
    [
        ("", CLOSED, True),
        ("failed failed", CLOSED, True),
        ("failed failed failed", OPEN, False),
        ("failed failed succeeded failed", CLOSED, True),  # in a row, that is
        ("failed failed abandoned failed", OPEN, False),  # which an abandoned question does not break
        ("abandoned abandoned abandoned abandoned", CLOSED, True),
        ("failed failed failed wait wait", OPEN, False),
        ("failed failed failed wait wait wait", HALF_OPEN, True),
        ("failed failed failed wait wait wait ask", OPEN, False),  # one probe at a time
        ("failed failed failed wait wait wait ask succeeded", CLOSED, True),
        ("failed failed failed wait wait wait ask failed", OPEN, False),
        ("failed failed failed wait wait wait ask failed wait wait wait", HALF_OPEN, True),
        ("failed failed failed wait wait wait ask abandoned", HALF_OPEN, True),
        ("failed failed failed succeeded", CLOSED, True),  # an answer from before it opened
    ],
)
def test_what_events_lead_to(events: str, state: int, allowed: bool):
    """The table of the breaker."""
    breaker, now_s = after(events.split())

    assert (state, allowed) == (breaker.state(now_s), breaker.ask(now_s)[1])


@given(st.lists(st.sampled_from(EVENTS)))
def test_it_is_never_stuck(events: list[str]):
    """Whatever happened: once the probe has an outcome and the time is over, the member is asked again."""
    breaker, now_s = after(events)
    for outcome in (breaker.succeeded(), breaker.failed(now_s), breaker.abandoned()):
        assert outcome.ask(now_s + 11.0)[1]


@given(st.lists(st.sampled_from(EVENTS)), st.integers(2, 5))
def test_one_probe_at_a_time(events: list[str], askers: int):
    """Of many who ask an open breaker at once, one is let through at most."""
    breaker, now_s = after([*events, "failed", "failed", "failed", "wait", "wait", "wait"])
    allowed = []
    for _ in range(askers):
        breaker, answer = breaker.ask(now_s)
        allowed.append(answer)

    assert [True] + [False] * (askers - 1) == allowed


@given(st.lists(st.sampled_from(["succeeded", "abandoned", "ask", "wait"])))
def test_it_opens_for_failures_only(events: list[str]):
    """Questions that were withdrawn say nothing about the member."""
    breaker, now_s = after(events)

    assert CLOSED == breaker.state(now_s)
