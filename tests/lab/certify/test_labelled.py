"""What certifies: one row of each cluster, with the labels that were agreed on, and never what was fitted on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interlock_lab.certify.labelled import (
    Labelled,
    join_shipped,
    load_labelled,
    one_of_each_cluster,
    refuse_known,
    refuse_twins,
    set_digest,
)
from interlock_lab.certify.units import text_digest
from interlock_lab.training.rows import Row, labels
from interlock_server.errors import ConfigError

from .samples import unit

LONG = "A quiet man walked along the river and counted every boat that he could see from the bridge"
ROW = Row(id="r1", source="edos", completion=LONG, labels=labels(1.0), label_source="x", cluster="c", split="certify")


def shipped(path: Path, **changes: Any) -> Path:
    """One line of labels.jsonl about ROW."""
    line = {
        "id": "r1", "row_source": "edos", "source": "public", "cluster": "c", "sha256": text_digest("", LONG),
        "drawn_as": "harmful", "labels": {"violence_injury": 0, "hate_harassment": 0}, "severity": 0, "clarity": "clear",
        "first": {"labels": [], "severity": 0, "clarity": "clear"},
        "second": {"labels": ["violence_injury"], "severity": 2, "clarity": "clear"}, "third": None, **changes,
    }  # fmt: skip
    file = path / "labels.jsonl"
    file.write_text(json.dumps(line) + "\n")
    return file


def test_one_row_stands_for_its_cluster():
    """Rows of one work are not independent of each other."""
    rows = [unit(number, cluster=f"work-{number % 3}") for number in range(30)]

    assert ["work-0", "work-1", "work-2"] == sorted(row.cluster for row in one_of_each_cluster(rows))


def test_the_choice_does_not_depend_on_the_order():
    """Otherwise whoever writes the file could choose."""
    rows = [unit(number, cluster="work") for number in range(30)]

    assert one_of_each_cluster(rows) == one_of_each_cluster(rows[::-1])


def test_a_clear_harmful_row_stands_before_others():
    """A cluster with harm in it is a harmful cluster."""
    rows = [unit(1, harmful=False, cluster="w"), unit(2, clarity="unclear", cluster="w"), unit(3, cluster="w")]

    assert ["unit-0003"] == [row.id for row in one_of_each_cluster(rows)]


def test_an_id_that_stands_twice_is_refused():
    """One row is not two."""
    with pytest.raises(ConfigError, match="'unit-0001' stands twice"):
        one_of_each_cluster([unit(1), unit(1, cluster="other")])


def test_a_wrong_line_is_named(tmp_path: Path):
    """By its number and field, without its text."""
    file = tmp_path / "set.jsonl"
    file.write_text(json.dumps({**unit(1).model_dump(), "clarity": "sure"}) + "\n")

    with pytest.raises(ConfigError, match=r"set\.jsonl: line 1: clarity"):
        load_labelled(file)


def test_shipped_labels_find_their_texts(tmp_path: Path):
    """By id, in the data folder."""
    found = join_shipped([ROW], shipped(tmp_path))

    assert [(LONG, "public", "c")] == [(row.completion, row.source, row.cluster) for row in found]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(ROW, completion="Another text."), "not the text that was read"),
        (replace(ROW, prompt="Another prompt."), "not the text that was read"),
        (replace(ROW, split="shape"), "in the split shape"),
        (replace(ROW, id="r2"), "no such row"),
    ],
)
def test_shipped_labels_are_of_the_texts_that_were_read(tmp_path: Path, row: Row, message: str):
    """A label is about one text, and one that nothing was fitted on."""
    with pytest.raises(ConfigError, match=message):
        join_shipped([row], shipped(tmp_path))


@pytest.mark.parametrize(("clarity", "label"), [("clear", 0), ("unclear", 1)])
def test_an_unclear_row_is_harmful_where_any_reader_said_so(tmp_path: Path, clarity: str, label: int):
    """It certifies nothing, and its line in the certificate must not be the better for it."""
    (found,) = join_shipped([ROW], shipped(tmp_path, clarity=clarity))

    assert label == found.labels["violence_injury"]


@pytest.mark.parametrize(
    ("completion", "cluster"), [(LONG.upper() + "!", "other"), ("Something else.", "c"), ("Something else.", "other")]
)
def test_a_unit_that_something_was_fitted_on_is_refused(completion: str, cluster: str):
    """Its cluster, its text, or nearly its text."""
    units = [unit(1, completion=completion, cluster=cluster)]
    rows = [replace(ROW, split="fit")]

    if (completion, cluster) == ("Something else.", "other"):
        refuse_known(units, rows)
    else:
        with pytest.raises(ConfigError, match="fitted on"):
            refuse_known(units, rows)


def test_twins_in_two_clusters_are_refused():
    """They are one observation."""
    with pytest.raises(ConfigError, match="same cluster"):
        refuse_twins([unit(1, completion=LONG), unit(2, completion=LONG + " today")])


def test_benign_rows_certify_nothing():
    """Harm that was found among rows drawn as benign is from another stratum."""
    assert [True, False] == [row.certifies("harm") for row in (unit(1), unit(2, drawn_as="benign"))]


@pytest.mark.parametrize("change", [{"labels": {"harm": 0}}, {"completion": "Other."}, {"clarity": "unclear"}])
def test_the_digest_is_of_everything(change: dict[str, Any]):
    """Another label or text is another set."""
    row: Labelled = unit(1)

    assert set_digest([row]) != set_digest([row.model_copy(update=change)])
