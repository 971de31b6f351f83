"""The distance on its way from a backend to the evidence: who has none, and what becomes of a wrong one."""

import math
from typing import Any

import numpy as np
import pytest
from fakes import CATEGORIES, FakeBackend
from interlock_server.assurance.gate import CHECKS, Gate, Ranks
from interlock_server.backends.backend import Reading, Run, Window
from interlock_server.decision.evidence import MissingCause
from interlock_server.inference.gating import ood_pvalue
from interlock_server.inference.scoring import Member, MemberReport, Work, checked, score_exchange
from interlock_server.text.exchange import Exchange
from interlock_server.text.gibberish import LETTER_CLASSES

EXCHANGE = Exchange("", "She poured two cups of tea and sat down.")
NINE = tuple(float(number) for number in range(1, 10))


class Far(FakeBackend):
    """Gives each window the distance that is said, in the order of the windows, which are of the views that are said."""

    def __init__(self, distances: list[float], views: list[str] | None = None) -> None:
        super().__init__()
        self.distances = distances
        self.views = views or ["raw"] * len(distances)

    def read(self, exchange: Exchange) -> Reading:
        whole = (0, exchange.completion_bytes)
        return Reading([Window(np.array([place]), view, whole) for place, view in enumerate(self.views)])

    def score(self, windows: Any, run: Run) -> Any:
        return np.array([[0.1] * len(CATEGORIES) + [self.distances[int(window.ids[0])]] for window in windows])


def report(*distances: float, views: list[str] | None = None, gated: bool = True) -> MemberReport:
    """What comes of windows that are so far away."""
    return score_exchange(Member("alpha", tuple(CATEGORIES), Far(list(distances), views), gated), EXCHANGE)


def gate(**ranks: Ranks) -> Gate:
    """One to which letters and words are ordinary."""
    letters = bytes([16]) * len(LETTER_CLASSES) ** 3
    return Gate("alpha", {**dict.fromkeys(CHECKS, Ranks((0,), (NINE,))), **ranks}, letters, 1.0)


def test_the_farthest_window_counts():
    """With how many there are, since the farthest of many is farther."""
    found = report(1.0, 7.0, 3.0)

    assert (7.0, 3) == (found.distance, found.distance_windows)
    assert dict.fromkeys(CATEGORIES, 0.1) == found.evidence.scores


def test_what_is_decoded_is_not_looked_at():
    """A text in rot13 is strange as it stands; what it says is for the scores."""
    found = report(1.0, 2.0, 9.0, views=["raw", "canonical", "rot13"])

    assert (2.0, 2) == (found.distance, found.distance_windows)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_distance_that_is_none_is_none_for_the_whole_text(wrong: float, place: int):
    """Whichever window has it. The scores are what they were."""
    distances = [1.0, 1.0]
    distances[place] = wrong
    found = report(*distances)

    assert found.distance is None
    assert found.evidence.missing is None
    assert dict.fromkeys(CATEGORIES, 0.1) == found.evidence.scores


def test_a_member_without_a_gate_has_no_distance():
    """A column more than it has categories is a broken model."""
    found = report(1.0, gated=False)

    assert (None, MissingCause.INVALID) == (found.distance, found.evidence.missing)


def test_a_gated_member_that_gives_scores_only_is_invalid():
    """It lost what the gate looks at."""
    assert MissingCause.INVALID is checked(np.full((1, 4), 0.1), 1, 4, gated=True).cause


@pytest.mark.parametrize("column", range(4))
def test_a_score_that_is_none_is_still_invalid_beside_a_distance(column: int):
    """The column more is not one of the scores."""
    row = np.array([[0.1, 0.1, 0.1, 0.1, 5.0]])
    row[0, column] = 1.5

    assert [None] == checked(row, 1, 4, gated=True).rows


def test_some_windows_have_no_distance():
    """The rest of the text may be anything."""
    work = Work(Member("alpha", tuple(CATEGORIES), Far([1.0, 2.0]), gated=True))
    work.read(EXCHANGE)
    work.record(work.pending.popleft(), [0.1, 0.1, 0.1, 0.1, 1.0])

    assert work.report(EXCHANGE, 0.0).distance is None


def test_a_growing_text_keeps_its_distances():
    """Windows that were scored when it was shorter count as well."""
    member, known = Member("alpha", tuple(CATEGORIES), Far([8.0, 2.0]), gated=True), {}
    for _ in range(2):
        work = Work(member, known)
        work.read(EXCHANGE)
        for window in list(work.pending):
            work.record(window, member.backend.score([window], Run()).tolist()[0])

    assert 0 == work.report(EXCHANGE, 0.0).tokens_scored
    assert 8.0 == work.report(EXCHANGE, 0.0).distance


@pytest.mark.parametrize("strange", CHECKS)
def test_each_check_can_hold_a_text_back(strange: str):
    """One that is strange is enough."""
    low = Ranks((0,), (tuple(-value for value in reversed(NINE)),))

    assert pytest.approx(0.3) == ood_pvalue(gate(**{strange: low}), EXCHANGE, (report(0.5),))


def test_an_ordinary_text_passes():
    """The twin: the door opens."""
    assert 1.0 == ood_pvalue(gate(), EXCHANGE, (report(0.5),))


@pytest.mark.parametrize("reports", [(), (report(math.nan),), (report(1.0, gated=False),)])
def test_without_a_distance_there_is_no_pvalue(reports: tuple[MemberReport, ...]):
    """Letters and words alone say nothing."""
    assert ood_pvalue(gate(), EXCHANGE, reports) is None


def test_only_the_gated_member_is_looked_at():
    """A report of another one is no substitute."""
    other = score_exchange(Member("beta", tuple(CATEGORIES), Far([0.5]), gated=True), EXCHANGE)

    assert ood_pvalue(gate(), EXCHANGE, (other,)) is None
