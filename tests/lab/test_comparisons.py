import numpy as np
import pytest
from interlock_lab.comparisons import EACH, PANEL, in_ranks, miss_correlations, paired, rules_compared
from interlock_lab.training.metrics import auroc

HARMFUL = np.arange(40) < 20
CLUSTERS = [str(number // 2) for number in range(40)]
GOOD = np.where(HARMFUL, 1.0, 0.0) + np.linspace(0, 0.1, 40)
NOISE = np.random.default_rng(5).normal(size=40)


def test_a_better_score_differs_from_a_worse_one_beyond_its_interval() -> None:
    """Paired on the same draws, a perfect score is ahead of noise in every one of them."""
    good, noise = paired({"good": GOOD, "noise": NOISE}, "noise", HARMFUL, CLUSTERS, auroc)
    assert (1.0, 0.0) == (good.value, noise.difference)
    assert good.difference_95[0] > 0


def test_the_panel_is_compared_with_each_member_and_with_their_veto() -> None:
    """All rules at the same misses; the panel is its own reference."""
    found = rules_compared({"a": GOOD, "b": NOISE}, GOOD, HARMFUL, CLUSTERS, 0.05)
    assert ["a", "b", EACH, PANEL] == [item.name for item in found]
    assert (0.0, (0.0, 0.0)) == (found[-1].difference, found[-1].difference_95)


def test_a_veto_withholds_what_any_member_ranks_high() -> None:
    """The row that one member ranks first stays first, whatever the others say."""
    ranks = in_ranks({"a": np.array([0.1, 0.2, 9.0]), "b": np.array([3.0, 2.0, 1.0])})
    assert [2 / 3, 1 / 3, 2 / 3] == pytest.approx(ranks)


def test_members_that_miss_the_same_rows_correlate_fully() -> None:
    """A copy of a member brings nothing."""
    found = miss_correlations({"a": NOISE, "b": NOISE * 2}, HARMFUL, 0.10)
    assert found[("a", "b")] == pytest.approx(1.0)
