import csv
from pathlib import Path

import pytest
from audit.samples import verdict
from interlock_lab.mine.candidates import Candidate
from interlock_lab.mine.queue import Item, items, read, write_csv, write_jsonl
from interlock_lab.mine.sampling import Drawn
from interlock_lab.replay.tally import At
from interlock_server.errors import ConfigError


def an_item(**changes):
    fields = {
        "verdict_id": "v1",
        "request_id": "r1",
        "caller": "c",
        "log": "log",
        "segment": 1,
        "time_unix_ns": 1,
        "released": True,
        "reasons": (),
        "margin": 0.1,
        "disagreement": 5.0,
        "spread": 2.0,
        "drawn_as": "mined",
        "propensity": 0.25,
        "prompt": "Hello?\n",
        "completion": "\u2028 two\nlines \x1b[31m",
    }
    return Item(**{**fields, **changes})


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_queue_comes_back_as_it_was(tmp_path):
    """Whatever is in the texts."""
    write_jsonl(tmp_path / "q.jsonl", [an_item(), an_item(verdict_id="v2", completion=None, text_gone="ERASED")])

    assert [an_item(), an_item(verdict_id="v2", completion=None, text_gone="ERASED")] == [
        *read(tmp_path / "q.jsonl").values()
    ]


def test_an_item_of_a_share_stands_for_more(tmp_path):
    """Whoever was left out before the draw could not have been drawn."""
    drawn = items([Candidate(At(0, 1, 2), verdict(1))], [Drawn(0, "mined", 0.5)], 0.25, [tmp_path], None)

    assert [0.125] == [item.propensity for item in drawn]


def test_who_labels_sees_neither_verdict_nor_stratum(tmp_path):
    """Only the texts, what to look them up by, and blanks."""
    write_csv(tmp_path / "q.csv", [an_item()])
    header, row = cells(tmp_path / "q.csv")

    assert ["verdict_id", "request_id", "prompt", "completion"] == header[:4]
    assert ["v1", "r1", "Hello?\n", an_item().completion, *[""] * 6] == row


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_computes_nothing(tmp_path, start):
    """A text that looks like a formula is marked as text."""
    write_csv(tmp_path / "q.csv", [an_item(completion=f"{start}1+1")])
    _, row = cells(tmp_path / "q.csv")

    assert f"'{start}1+1" == row[3]


def test_a_file_that_may_hold_labels_is_not_overwritten(tmp_path):
    """It says so, and the file stays."""
    (tmp_path / "q.csv").write_text("labels")
    with pytest.raises(ConfigError, match="exists"):
        write_csv(tmp_path / "q.csv", [an_item()])

    assert "labels" == (tmp_path / "q.csv").read_text()


def test_only_the_owner_may_read_a_queue(tmp_path):
    """It may hold texts."""
    write_jsonl(tmp_path / "q.jsonl", [an_item()])

    assert 0o600 == (tmp_path / "q.jsonl").stat().st_mode & 0o777


def test_a_line_that_is_no_item_is_named_without_its_content(tmp_path):
    """By number."""
    (tmp_path / "q.jsonl").write_text('\n{"verdict_id": "secret"}\n')
    with pytest.raises(ConfigError, match="line 2: is not an item") as raised:
        read(tmp_path / "q.jsonl")

    assert "secret" not in str(raised.value)
