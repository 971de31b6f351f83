"""The gate's p-values: what they promise about texts that are known, and when there is none."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.assurance.gate import CHECKS, Gate, Ranks

NINE = tuple(float(number) for number in range(1, 10))


def gate(*groups: tuple[float, ...], sizes: tuple[int, ...] = (1,)) -> Gate:
    """The same ranks for every check."""
    return Gate("alpha", dict.fromkeys(CHECKS, Ranks(sizes, groups or (NINE,))), b"", 0.0)


@pytest.mark.parametrize(("strangeness", "pvalue"), [(0.0, 1.0), (1.0, 1.0), (1.5, 0.9), (9.0, 0.2), (9.5, 0.1)])
def test_a_pvalue_counts_those_that_are_as_strange(strangeness: float, pvalue: float):
    """The text itself counts too, so that none is impossible."""
    assert pvalue == Ranks((1,), (NINE,)).pvalue(strangeness, 1)


@pytest.mark.parametrize("strangeness", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_pvalue(strangeness: float):
    """A broken model must not look ordinary."""
    assert Ranks((1,), (NINE,)).pvalue(strangeness, 1) is None


@pytest.mark.parametrize(("size", "pvalue"), [(0, 0.1), (1, 0.1), (2, 0.1), (3, 1.0), (99, 1.0)])
def test_a_text_is_compared_with_those_of_its_size(size: int, pvalue: float):
    """The farthest of many windows is farther than that of one."""
    ranks = Ranks((1, 3), (NINE, tuple(10 * value for value in NINE)))

    assert pvalue == ranks.pvalue(10.0, size)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=30), st.floats(0, 9), st.floats(0, 9))
def test_stranger_is_never_more_ordinary(group: list[float], one: float, other: float):
    """The p-value falls with the strangeness."""
    ranks = Ranks((1,), (tuple(sorted(group)),))
    mild, strange = sorted((one, other))

    assert ranks.pvalue(mild, 1) >= ranks.pvalue(strange, 1) > 0


@pytest.mark.parametrize("tied", [False, True])
def test_known_texts_are_held_back_no_more_often_than_promised(tied: bool):
    """P(p <= alpha) <= alpha over draws of calibration and text, with ties and without."""
    drawn = random.Random(7)
    sample = (lambda: float(drawn.randrange(4))) if tied else drawn.random
    trials = 20_000
    held = sum(
        Ranks((1,), (tuple(sorted(sample() for _ in range(19))),)).pvalue(sample(), 1) <= 0.1 for _ in range(trials)
    )

    assert held / trials <= 0.1 + 4 * math.sqrt(0.09 / trials)
    assert tied or held / trials >= 0.1 - 4 * math.sqrt(0.09 / trials)


def test_checks_together_promise_what_one_does():
    """Three looks at one text: the smallest p-value counts threefold."""
    found = {"distance": (1.0, 1), "letters": (9.5, 1), "words": (1.0, 1)}

    assert pytest.approx(0.3) == gate().pvalue(found)


def test_a_pvalue_is_never_above_one():
    """It is evidence, and checked as such."""
    assert 1.0 == gate().pvalue(dict.fromkeys(CHECKS, (0.0, 1)))


@pytest.mark.parametrize("missing", CHECKS)
@pytest.mark.parametrize("what", [None, (math.nan, 1)])
def test_a_missing_check_leaves_no_pvalue(missing: str, what: tuple[float, int] | None):
    """Whatever the others say."""
    assert gate().pvalue({**dict.fromkeys(CHECKS, (1.0, 1)), missing: what}) is None


@pytest.mark.parametrize("missing", CHECKS)
def test_a_gate_without_a_check_has_no_pvalue(missing: str):
    """A gate that lost one must not say more than it knows."""
    ranks = {check: Ranks((1,), (NINE,)) for check in CHECKS if check != missing}

    assert Gate("alpha", ranks, b"", 0.0).pvalue(dict.fromkeys(CHECKS, (1.0, 1))) is None


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ((), ()),
        ((1,), ()),
        ((1,), ((),)),
        ((1, 1), (NINE, NINE)),
        ((2, 1), (NINE, NINE)),
        ((1,), ((2.0, 1.0),)),
        ((1,), ((1.0, math.nan),)),
        ((1,), ((1.0, math.inf),)),
    ],
)
def test_ranks_that_are_none_are_refused(sizes: tuple[int, ...], groups: tuple[tuple[float, ...], ...]):
    """A group that is not sorted would give any p-value at all."""
    with pytest.raises(ValueError, match="ranks need"):
        Ranks(sizes, groups)
