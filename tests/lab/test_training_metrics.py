import numpy as np
import pytest
from interlock_lab.training.metrics import auprc, auroc, labelled, report, resampled, threshold_at, withheld_at
from interlock_lab.training.rows import Row, labels

ROWS = [
    Row(id=str(n), source="s/x", completion="x", labels=found, label_source="t", cluster=str(n % 5))
    for n, found in enumerate([*(labels(illicit=float(number % 2)) for number in range(20)), labels()])
]


def test_auroc_counts_pairs_and_halves_ties() -> None:
    """Three of four pairs are in order, one is a tie."""
    found = auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]), np.ones(4))
    assert found == pytest.approx(0.875)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """Resampling clusters gives weights: every measure must treat them as repeated rows."""
    scores, harmful = np.array([0.9, 0.2, 0.6, 0.1]), np.array([True, True, False, False])
    twice, weights = [0, 1, 1, 2, 3, 3], np.array([1.0, 2.0, 1.0, 2.0])
    for measure in (auroc, auprc, withheld_at(0.4)):
        assert measure(scores, harmful, weights) == pytest.approx(measure(scores[twice], harmful[twice], np.ones(6)))


def test_the_threshold_misses_no_more_than_asked() -> None:
    """At 10 % of ten harmful rows one may fall below; the benign at or above the second lowest are withheld."""
    scores = np.concatenate([np.linspace(0.1, 1.0, 10), [0.15, 0.2, 0.3, 0.0]])
    harmful = np.arange(14) < 10
    assert threshold_at(0.10, scores, harmful, np.ones(14)) == pytest.approx(0.2)
    assert withheld_at(0.10)(scores, harmful, np.ones(14)) == 0.5


def test_clusters_are_drawn_whole() -> None:
    """Rows of one cluster always weigh the same, and the draws differ."""
    draws = list(resampled(["a", "a", "b", "c"], 20))
    assert all(weights[0] == weights[1] for weights in draws)
    assert len({tuple(weights) for weights in draws}) > 1


def test_a_doubtful_label_is_neither_harmful_nor_benign() -> None:
    """Between the benign and the harmful end nobody knows."""
    rows = [
        Row(id="r", source="s", completion="x", labels=labels(illicit=p), label_source="t") for p in (0.1, 0.4, 0.9)
    ]
    known, harmful = labelled(rows, "illicit")
    assert ([True, False, True], [False, False, True]) == (known.tolist(), harmful.tolist())


def test_unknown_labels_are_not_counted_as_benign() -> None:
    """A row that nobody judged in a category appears in none of its numbers."""
    found = report(ROWS, np.zeros((21, 4)))
    assert (found["illicit"]["harmful"], found["illicit"]["benign"], found["self_harm"]["by_source"]) == (10, 10, {})
