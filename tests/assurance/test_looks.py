"""What a bound becomes when many candidates are looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.assurance.looks import bound_over_looks

RATES = st.floats(0, 1)


def test_it_is_the_largest_bound_times_the_looks():
    """A union over the misses."""
    assert 0.5 == bound_over_looks([0.01, 0.05], 10)


@pytest.mark.parametrize(("bounds", "looks"), [([0.05], 20), ([0.5], 3), ([], 1), ([float("nan")], 1)])
def test_nothing_is_said_at_one_or_above(bounds: list[float], looks: int):
    """Also where there is no certificate at all."""
    assert bound_over_looks(bounds, looks) is None


@given(shares=st.lists(RATES, min_size=1, max_size=6), looks=st.integers(1, 20), draws=st.lists(RATES, max_size=20))
def test_it_holds_however_candidates_depend_on_each_other(shares: list[float], looks: int, draws: list[float]):
    """Misses as arbitrary events of the given probabilities on the unit interval never cover more than the bound."""
    bound = bound_over_looks(shares, looks)
    starts = (draws + [0.0] * looks)[:looks]
    rate = max(shares)
    covered = sum(any(start <= point / 1000 < start + rate for start in starts) for point in range(1000)) / 1000

    assert bound is None or covered <= bound + looks / 1000


def test_no_look_is_no_question():
    """A mistake of the caller's."""
    with pytest.raises(ValueError, match="at least 1"):
        bound_over_looks([0.1], 0)
