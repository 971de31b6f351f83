"""The agenda: which of what waits is next, for any mixture of requests and rules."""

import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from fakes import BENIGN, CATEGORIES, FakeBackend, scores
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.backends.backend import BatchRule, Reading, Window
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.inference.batching import BULK, INTERACTIVE, Agenda, Batch, Inquiry
from interlock_server.inference.scoring import Member, Outcome
from interlock_server.text.exchange import Exchange

FAR_S = 1e6


class Asked(NamedTuple):
    """A request of a test: the lengths of its windows, for each member."""

    lengths: list[int]
    submitted_s: float = 0.0
    deadline_s: float = FAR_S
    priority: int = INTERACTIVE


class Lengths(FakeBackend):
    """Windows of the lengths that the prompt names, all different."""

    def read(self, exchange: Exchange) -> Reading:
        lengths = [int(word) for word in exchange.prompt.split()]
        ends = [exchange.completion_bytes * place // len(lengths) for place in range(len(lengths) + 1)]
        spans = list(pairwise(ends))
        return Reading([Window(np.full(n, place), "raw", spans[place]) for place, n in enumerate(lengths)])


def member(name: str = "alpha", **rule: float) -> Member:
    backend = Lengths()
    backend.batching = BatchRule(**rule)  # type: ignore[arg-type]
    return Member(name, tuple(CATEGORIES), backend)


def inquiry(asked: Asked, members: list[Member], age_max_s: float = FAR_S) -> Inquiry:
    """Read, as a lane would have."""
    made = Inquiry(
        lambda: Exchange(" ".join(map(str, asked.lengths)), BENIGN),
        members,
        deadline_s=asked.deadline_s,
        submitted_s=asked.submitted_s,
        age_max_s=age_max_s,
        priority=asked.priority,
    )
    made.read()
    return made


def agenda(*inquiries: Inquiry) -> Agenda:
    filled = Agenda()
    for item in (item for asked in inquiries for item in asked.items):
        filled.add(item)
    return filled


def batches(waiting: Agenda, now_s: float = 0.0) -> list[Batch]:
    """Everything that comes out of it."""
    found: list[Batch] = []
    while (step := waiting.take(now_s)[0]) is not None:
        assert isinstance(step, Batch)
        found.append(step)
    return found


ASKED = st.builds(
    lambda lengths, submitted_s, left_s, priority: Asked(lengths, submitted_s, submitted_s + left_s, priority),
    st.lists(st.integers(1, 300), min_size=1, max_size=6),
    st.floats(0, 10),
    st.floats(0, 10),
    st.sampled_from([INTERACTIVE, BULK]),
)
RULES = st.fixed_dictionaries(
    {"size_max": st.integers(1, 8), "tokens_max": st.integers(1, 1_000), "spread_max": st.floats(1, 4)}
)


@given(st.lists(ASKED, max_size=8), RULES, RULES)
def test_no_batch_is_over_its_budget(asked: list[Asked], first: dict[str, float], second: dict[str, float]):
    """A single window is let through, however long; its member has to take it anyway."""
    members = [member("alpha", **first), member("beta", **second)]
    for batch in batches(agenda(*(inquiry(one, members) for one in asked))):
        rule, lengths = batch.member.backend.batching, [len(window.ids) for window in batch.windows]

        assert len(lengths) <= rule.size_max
        assert len(lengths) == 1 or len(lengths) * max(lengths) <= rule.tokens_max
        assert max(lengths) <= rule.spread_max * min(lengths)


@given(st.lists(ASKED, max_size=8), RULES, st.floats(0, 20))
def test_nothing_dead_is_taken_and_nothing_alive_forgotten(asked: list[Asked], rule: dict[str, float], now_s: float):
    """Every window of every request that somebody waits for, once."""
    inquiries = [inquiry(one, [member(**rule)]) for one in asked]
    alive = [one for one in inquiries if now_s < one.deadline_s]
    expected = sorted(id(window) for one in alive for window in one.works[0].pending)

    assert expected == sorted(id(window) for batch in batches(agenda(*inquiries), now_s) for window in batch.windows)


@given(st.lists(ASKED, max_size=8), RULES)
def test_the_windows_of_a_work_keep_their_order(asked: list[Asked], rule: dict[str, float]):
    """Whatever shares a batch with them."""
    inquiries = [inquiry(one, [member(**rule)]) for one in asked]
    expected = {id(one.items[0]): list(one.works[0].pending) for one in inquiries}
    found: dict[int, list[Window]] = {key: [] for key in expected}
    for batch in batches(agenda(*inquiries), now_s=-1.0):
        for item, window in batch.pieces:
            found[id(item)].append(window)

    assert all(before is after for key in expected for before, after in zip(expected[key], found[key], strict=True))


@given(st.lists(ASKED, max_size=10), st.floats(0.1, 5))
def test_nobody_starves(asked: list[Asked], age_max_s: float):
    """Whoever came more than the age limit later goes after, within a priority, whatever the deadlines."""
    inquiries = [inquiry(one, [member()], age_max_s) for one in asked]
    order = [batch.pieces[0][0].inquiry for batch in batches(agenda(*inquiries), now_s=-1.0)]
    for earlier, later in [(a, b) for place, b in enumerate(order) for a in order[:place]]:
        if earlier.key[0] == later.key[0]:
            assert earlier.submitted_s <= later.submitted_s + age_max_s


@given(st.lists(ASKED, max_size=8), RULES)
def test_bulk_comes_after_all_that_is_interactive(asked: list[Asked], rule: dict[str, float]):
    """And shares no batch with it."""
    found = batches(agenda(*(inquiry(one, [member(**rule)]) for one in asked)), now_s=-1.0)
    priorities = [{item.key[0] for item, _ in batch.pieces} for batch in found]

    assert all(len(each) == 1 for each in priorities)
    assert sorted(min(each) for each in priorities) == [min(each) for each in priorities]


@given(st.lists(st.floats(0, 20), min_size=2, max_size=8))
def test_the_earliest_deadline_comes_first(deadlines_s: list[float]):
    """Within a priority and the age limit."""
    waiting = agenda(*(inquiry(Asked([5], deadline_s=deadline_s), [member()]) for deadline_s in deadlines_s))

    assert sorted(deadlines_s) == [batch.deadline_s for batch in batches(waiting, now_s=-1.0)]


def test_a_long_text_does_not_hold_up_a_more_urgent_one():
    """Its windows are taken one by one, and in between is room."""
    long, short = inquiry(Asked([9] * 50, deadline_s=9), [member()]), inquiry(Asked([9], deadline_s=1), [member()])
    waiting = agenda(long)
    waiting.take(0.0)
    waiting.add(short.items[0])

    assert short is batches(waiting)[0].pieces[0][0].inquiry


def test_what_cannot_end_in_time_is_given_up_for_those_who_wait():
    """Early, so that its caller knows at once and the others are in time."""
    hopeless, good = inquiry(Asked([5], deadline_s=1.0), [member()]), inquiry(Asked([5], deadline_s=9.0), [member()])
    hopeless.works[0].window_s = 2.0
    step, given_up = agenda(hopeless, good).take(0.0)

    assert (good, [hopeless]) == (step.pieces[0][0].inquiry, given_up)  # type: ignore[union-attr]
    assert MissingCause.OVERLOADED == hopeless.reports()[0].evidence.missing


def test_a_hopeless_one_is_tried_when_nobody_waits():
    """Or a wrong prediction would never be mended."""
    hopeless = inquiry(Asked([5], deadline_s=1.0), [member()])
    hopeless.works[0].window_s = 2.0

    assert 1 == len(batches(agenda(hopeless)))


def test_a_failed_batch_is_tried_again_one_request_at_a_time():
    """So that one text cannot take the others down with it."""
    shared = member(size_max=8)
    inquiries = [inquiry(Asked([5]), [shared]) for _ in range(3)]
    waiting = agenda(*inquiries)
    (batch,) = batches(waiting)
    for item in batch.finish(Outcome(cause=MissingCause.FAILED, fault=True), 0.1):
        waiting.add(item)

    assert [1, 1, 1] == [len(again.pieces) for again in batches(waiting)]


def test_a_request_that_fails_alone_has_failed():
    """Once is enough."""
    asked = inquiry(Asked([5, 5]), [member(size_max=8)])
    (batch,) = batches(agenda(asked))

    assert [] == batch.finish(Outcome(cause=MissingCause.FAILED, fault=True), 0.1)
    assert MissingCause.FAILED == asked.reports()[0].evidence.missing


def test_a_bad_row_is_one_requests_own():
    """The others of its batch keep theirs."""
    shared = member(size_max=8)
    inquiries = [inquiry(Asked([5]), [shared]) for _ in range(3)]
    (batch,) = batches(agenda(*inquiries))
    batch.finish(Outcome([scores()[0].tolist(), None, scores()[0].tolist()]), 0.1)

    assert [None, MissingCause.INVALID, None] == [one.reports()[0].evidence.missing for one in inquiries]


def test_it_settles_once_when_every_member_has_spoken():
    """Whoever waits is woken once."""
    settled: list[bool] = []
    asked = inquiry(Asked([5]), [member("alpha"), member("beta")])
    asked.on_settled = lambda: settled.append(True)
    counts = []
    for batch in batches(agenda(asked)):
        batch.finish(Outcome([scores()[0].tolist()]), 0.1)
        asked.settles() and settled.append(True)
        asked.settles() and settled.append(True)
        counts.append(len(settled))

    assert [0, 1] == counts


@pytest.mark.parametrize("refused", [Reason.INPUT_EMPTY, Reason.INPUT_UNREADABLE])
def test_an_exchange_that_cannot_be_judged_is_over_once_read(refused: Reason):
    """No member is asked, and nobody waits."""
    asked = Inquiry(lambda: refused, [member()], deadline_s=FAR_S, submitted_s=0.0)
    asked.read()

    assert (refused, True) == (asked.refused, asked.over)


def test_closing_stops_a_run_that_serves_nobody_else():
    """One that others wait for goes on."""
    shared = member(size_max=8)
    inquiries = [inquiry(Asked([5]), [shared]) for _ in range(2)]
    (batch,) = batches(agenda(*inquiries))
    batch.begin(0.0)
    stopped = []
    for one in inquiries:
        one.close()
        stopped.append(batch.handle.stopped)

    assert [False, True] == stopped


def test_rows_that_come_after_the_close_are_thrown_away():
    """The answer has been sent."""
    asked = inquiry(Asked([5]), [member()])
    (batch,) = batches(agenda(asked))
    asked.close()
    batch.finish(Outcome([scores(0.9)[0].tolist()]), 0.1)

    assert ({}, MissingCause.TIMED_OUT) == (asked.reports()[0].evidence.scores, asked.reports()[0].evidence.missing)


def test_ten_thousand_wait_in_order():
    """And to take the next one does not take long."""
    one = member()
    waiting = agenda(*(inquiry(Asked([5], deadline_s=float(place % 97)), [one]) for place in range(10_000)))
    begun_s = time.monotonic()
    deadlines_s = [batch.deadline_s for batch in batches(waiting, now_s=-1.0)]

    assert (10_000, sorted(deadlines_s)) == (len(deadlines_s), deadlines_s)
    assert time.monotonic() - begun_s < 30
