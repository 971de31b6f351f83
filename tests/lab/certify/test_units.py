"""The selection of what certifies."""

from interlock_lab.certify.units import benign_units, harmful_units
from interlock_lab.training.rows import Row, labels


def row(number: int, harm: float, source: str = "written/x", cluster: str = "", split: str = "certify") -> Row:
    """Violent or not."""
    known = labels(harm, 0.0, 0.0, 0.0)
    cluster = cluster or f"c{number}"
    return Row(
        id=f"r{number}", source=source, completion="x", labels=known, label_source="x", cluster=cluster, split=split
    )


def test_one_row_of_each_harmful_cluster_is_drawn():
    """Whatever the order of rows."""
    rows = [row(number, 1.0, cluster=f"w{number % 4}") for number in range(20)]

    assert 4 == len(harmful_units(rows))
    assert harmful_units(rows) == harmful_units(rows[::-1])


def test_other_splits_and_weak_labels_are_not_drawn():
    """Word senses and requests certify nothing."""
    rows = [row(1, 1.0, split="shape"), row(2, 1.0, "framenet"), row(3, 1.0, "advbench"), row(4, 1.0, "edos")]

    assert [("r4", "public")] == [(unit.row.id, unit.source) for unit in harmful_units(rows)]


def test_benign_rows_are_of_clusters_without_harm():
    """A harmful cluster is never drawn as benign."""
    rows = [row(1, 1.0, cluster="w"), row(2, 0.0, cluster="w"), row(3, 0.0)]

    assert ["r3"] == [unit.row.id for unit in benign_units(rows)]
