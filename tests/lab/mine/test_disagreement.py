import pytest
from decision.samples import said
from interlock_lab.mine.disagreement import spreads, weight
from interlock_server.decision.evidence import Evidence, MissingCause


def log_of(*pairs: tuple[float, float]) -> list[Evidence]:
    return [Evidence((said("alpha", alpha), said("beta", beta))) for alpha, beta in pairs]


def test_members_of_different_ranges_that_rank_alike_agree():
    """However far apart their scores are."""
    assert [0.0, 0.0, 0.0] == spreads(log_of((0.001, 0.49), (0.5, 0.5), (0.999, 0.51)))


def test_what_one_calls_worst_and_another_best_is_farthest_apart():
    """In a log on which they agree otherwise."""
    found = spreads(log_of(*((n / 100, n / 100) for n in range(1, 50)), (0.9, 0.001)))

    assert 49 == found.index(max(found))
    assert 4.0 < max(found) < 6.0


def test_the_category_where_they_are_farthest_apart_counts():
    """The others make no difference."""
    evidence = [
        Evidence(
            tuple(said(name, 0.1, scores={"one": n, "two": -n * sign % 1}) for name, sign in (("a", 1), ("b", -1)))
        )
        for n in (0.1, 0.2, 0.3)
    ]
    alone = [Evidence(tuple(said(m.member, 0.1, scores={"two": m.scores["two"]}) for m in e.members)) for e in evidence]

    assert spreads(alone) == spreads(evidence)
    assert max(spreads(alone)) > 1.0


def test_members_that_are_missing_disagree_with_nobody():
    """Nor does one that is left alone, nor a score that is none."""
    evidence = [
        Evidence((said("alpha", 0.1), said("beta", 0.9, missing=MissingCause.TIMED_OUT))),
        Evidence((said("alpha", 0.9), said("beta", float("nan")))),
        Evidence(),
    ]

    assert [0.0, 0.0, 0.0] == spreads(evidence)
    assert [] == spreads([])


@pytest.mark.parametrize(
    ("more", "less"),
    [((4.0, 0.5), (2.0, 0.5)), ((4.0, 0.1), (4.0, 5.0)), ((4.0, -0.1), (4.0, -5.0)), ((4.0, 1.0), (4.0, None))],
)
def test_disagreement_near_the_dial_is_worth_most(more, less):
    """And nothing is worth nothing."""
    assert weight(*more) > weight(*less) > 0
