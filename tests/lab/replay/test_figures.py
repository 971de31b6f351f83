from math import comb

import pytest
from audit.samples import feedback, verdict
from interlock_lab.replay.figures import figures, share

from .samples import LOOSER, STRICTER, part_of_stream, suspect, tally_of


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (1, 1), (3, 40), (199, 200)])
def test_intervals_are_exact(count, of):
    """At each end (but 0 and 1) what was seen, or more extreme, has a probability of 1 in 40: Clopper and Pearson."""
    found = share(count, of)

    def chance(counts, rate):
        return sum(comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in counts)

    assert (0.025 if count else 1.0) == pytest.approx(chance(range(count, of + 1), found["low"]))
    assert (0.025 if count < of else 1.0) == pytest.approx(chance(range(count + 1), found["high"]))


def test_a_share_of_nothing_is_not_known():
    """Neither 0 nor 1."""
    assert {"count": 0, "of": 0, "share": None, "low": None, "high": None} == share(0, 0)


def test_new_releases_are_a_share_of_what_the_reason_withheld():
    """And in all of what was withheld."""
    found = figures(tally_of(verdict(1), suspect(2), verdict(3), suspect(4), policy=LOOSER), ["log"])["verdicts"]
    rows = [(row["category"], row["reason"], row["count"], row["of"]) for row in found["to_release_by_cause"]]

    assert [("harm", "UNCERTAIN", 2, 2), ("harm", "HARMFUL", 0, 1)] == rows
    assert (2, 3) == (found["to_release"]["count"], found["to_release"]["of"])


def test_new_withholds_are_a_share_of_what_was_released():
    """By the reasons that speak now."""
    found = figures(tally_of(verdict(1), verdict(2), verdict(3), policy=STRICTER), ["log"])["verdicts"]
    rows = [(row["category"], row["reason"], row["count"], row["of"]) for row in found["to_withhold_by_cause"]]

    assert [("harm", "HARMFUL", 2, 2)] == rows


def test_flips_are_listed_with_their_places_and_both_sides():
    """Parts of streams too, marked as such."""
    listed = figures(tally_of(suspect(2), part_of_stream(4), policy=LOOSER), ["some/log"])["to_release"]

    assert 2 == listed["count"]
    assert [("some/log", 1, 2, False), ("some/log", 1, 3, True)] == [
        (flip["log"], flip["segment"], flip["line"], flip["stream_part"]) for flip in listed["first"]
    ]
    assert ["UNCERTAIN"] == listed["first"][0]["before"]["reasons"]
    assert listed["first"][0]["before"]["margin"] < 0 < listed["first"][0]["after"]["margin"]


def test_what_people_said_is_joined_by_the_verdict():
    """The last word on each verdict counts, wherever in the log it stands."""
    records = [feedback(2, label="FINE"), suspect(2), suspect(4), suspect(5), feedback(2, label="HARMFUL"), feedback(4)]
    found = figures(tally_of(*records, policy=LOOSER), ["log"])

    assert {"harmful": 1, "fine": 1} == found["feedback"]["to_release"]
    assert (3, 3) == (found["feedback"]["reports"], found["feedback"]["flips"])
    assert ["HARMFUL", "FINE", ""] == [flip["feedback"] for flip in found["to_release"]["first"]]


def test_every_verdict_is_in_one_cell_of_the_matrix():
    """So that the denominators are what was judged."""
    found = figures(tally_of(verdict(1), suspect(2), verdict(3), part_of_stream(4), policy=LOOSER), ["log"])

    assert [("RELEASE", "RELEASE", 1), ("HARMFUL", "HARMFUL", 1), ("UNCERTAIN", "RELEASE", 1)] == [
        (cell["from"], cell["to"], cell["count"]) for cell in found["verdicts"]["matrix"]
    ]
    assert (3, 1) == (found["verdicts"]["judged"], found["stream_parts"]["judged"])
