import json

import pytest
from audit.samples import feedback, verdict, verdict_id, write_log
from interlock_lab.mine.labels import Label, merged, read
from interlock_lab.training.rows import CATEGORIES
from interlock_server.errors import ConfigError

FINE = dict.fromkeys(CATEGORIES, 0)
HATE = {**FINE, "hate_harassment": 1}
HEADER = f"verdict_id,prompt,{','.join(CATEGORIES)},severity,clarity\n"


def test_labels_of_a_spreadsheet(tmp_path):
    """A row without marks is not labelled yet; severity and clarity have defaults."""
    (tmp_path / "l.csv").write_text(f"{HEADER}a,x,0,0,1,0,3,unclear\nb,x,,,,,,\nc,x,0,0,0,0,,\nd,x,0,0,1,0,,\n")
    expected = {
        "a": Label("a", True, HATE, 3, "unclear"),
        "c": Label("c", False, FINE, 0, "clear"),
        "d": Label("d", True, HATE, 2, "clear"),
    }

    assert expected == read(tmp_path / "l.csv")


def test_labels_may_stand_in_lines_of_the_queue(tmp_path):
    """Other fields are passed over, and lines without labels."""
    given = [{"verdict_id": "a", "labels": HATE, "drawn_as": "mined"}, {"verdict_id": "b", "labels": None}]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, given)))

    assert {"a": Label("a", True, HATE, 2)} == read(tmp_path / "l.jsonl")


def test_reports_in_an_audit_log_are_labels(tmp_path):
    """A report of harm says nothing of the other categories."""
    write_log(tmp_path, [verdict(1), verdict(2), feedback(1), feedback(2, label="HARMFUL", categories=("illicit",))])

    assert {
        verdict_id(1): Label(verdict_id(1), False, FINE),
        verdict_id(2): Label(verdict_id(2), True, None, 2),
    } == read(tmp_path)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_labels_that_contradict_each_other_harm_wins(order):
    """And the case is unclear, in whatever order they came."""
    found = merged([Label("a", False, FINE), Label("a", True, HATE, 2)][::order])

    assert {"a": Label("a", True, HATE, 2, "unclear")} == found


def test_two_labels_that_agree_stay_clear():
    """Severity is no contradiction."""
    assert "clear" == merged([Label("a", True, HATE, 2), Label("a", True, HATE, 3)])["a"].clarity


@pytest.mark.parametrize("cells", ["0,0,1,,2,", "0,0,7,0,2,", "0,0,yes,0,2,", "0,0,1,0,9,", "0,0,1,0,2,maybe"])
def test_what_is_wrong_in_a_spreadsheet_is_named_by_its_line(tmp_path, cells):
    """Without its content."""
    (tmp_path / "l.csv").write_text(f"{HEADER}a,secret,{cells}\n")
    with pytest.raises(ConfigError, match="line 2") as raised:
        read(tmp_path / "l.csv")

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("line", ['{"verdict_id": "a", "labels": {"illicit": 1}}', '{"labels": {}}', "secret"])
def test_what_is_wrong_in_a_file_of_lines_is_named_by_its_line(tmp_path, line):
    """Without its content."""
    (tmp_path / "l.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(ConfigError, match="line 2") as raised:
        read(tmp_path / "l.jsonl")

    assert "secret" not in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    """No traceback."""
    for name in ("none.csv", "none.jsonl"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path / name)
