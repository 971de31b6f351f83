import numpy as np
from interlock_lab.training.metrics import auroc, report, withheld_at
from interlock_lab.training.rows import Row, labels


def test_auroc_counts_pairs_and_halves_ties() -> None:
    """Three of four pairs are in order, one is a tie."""
    assert auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == 0.875


def test_the_threshold_misses_no_more_than_asked() -> None:
    """At 10 % of ten harmful rows one may fall below; the benign at or above the second lowest are withheld."""
    harmful, benign = np.linspace(0.1, 1.0, 10), np.array([0.15, 0.2, 0.3, 0.0])
    assert withheld_at(harmful, benign, 0.10) == 0.5


def test_unknown_labels_are_not_counted_as_benign() -> None:
    """A row that nobody judged in a category appears in none of its numbers."""
    known = [labels(illicit=float(number % 2)) for number in range(20)]
    rows = [Row(id="r", source="s/x", completion="x", labels=found, label_source="t") for found in [*known, labels()]]
    found = report(rows, np.zeros((21, 4)))
    assert (found["illicit"]["harmful"], found["illicit"]["benign"], found["self_harm"]["by_source"]) == (10, 10, {})
