import csv
import json
from pathlib import Path

import pytest
from audit.samples import feedback, verdict, verdict_id
from decision.samples import HARMFUL, SAFE, evidence
from interlock_lab.mine.queue import Item, read
from interlock_lab.training.rows import CATEGORIES
from interlock_lab.training.sources import written
from interlock_server.errors import ConfigError

from .samples import Ran, log_of, run, text

FINE = dict.fromkeys(CATEGORIES, 0)
HATE = {**FINE, "hate_harassment": 1}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ninety-nine verdicts that agree, one on which the members are apart, and a report of harm that was released."""
    odd = verdict(50, evidence=evidence(SAFE, HARMFUL))
    agreed = (verdict(number) for number in range(1, 101) if number != 50)
    return log_of(tmp_path / "log", *agreed, odd, feedback(50, label="HARMFUL"))


def drawn(log: Path, *options: object) -> tuple[Ran, dict[str, Item]]:
    """A queue of about ten."""
    ran = run(log, "--out", log.parent / "q.jsonl", "--count", 10, *options)
    return ran, read(log.parent / "q.jsonl")


def labelled(folder: Path, queue: dict[str, Item], **changes: object) -> Path:
    """Labels that call everything hateful."""
    path = folder / "labels.jsonl"
    path.write_text("\n".join(json.dumps({"verdict_id": name, "labels": HATE, **changes}) for name in queue))
    return path


def test_a_queue_has_texts_and_propensities(log):
    """And where the members are apart first."""
    ran, queue = drawn(log)

    assert 0 == ran.code
    assert "mined" == queue[verdict_id(50)].drawn_as
    assert {text(int(name[-12:])).decode() for name in queue} == {item.completion for item in queue.values()}
    assert all(0 < item.propensity <= 1 for item in queue.values())


def test_the_csv_has_the_same_items(log):
    """To be filled in."""
    _, queue = drawn(log, "--csv")
    with (log.parent / "q.csv").open(newline="") as file:
        assert list(queue) == [row["verdict_id"] for row in csv.DictReader(file)]


def test_no_text_is_printed(log):
    """Neither when it is drawn nor when labels come back."""
    ran, queue = drawn(log)
    back = run(
        "--label", labelled(log.parent, queue), "--queue", log.parent / "q.jsonl", "--rows", log.parent / "rows.jsonl"
    )

    assert (0, 0) == (ran.code, back.code)
    assert not any(word in ran.output + back.output for item in queue.values() for word in item.completion.split())


def test_texts_that_were_not_kept_are_said_to_be_missing(tmp_path):
    """The queue still says which exchanges are meant."""
    log = log_of(tmp_path / "log", *map(verdict, range(1, 11)))
    (log / "000001.texts").unlink()
    ran, queue = drawn(log)
    back = run("--label", labelled(tmp_path, queue), "--queue", tmp_path / "q.jsonl", "--rows", tmp_path / "rows.jsonl")

    assert f"{len(queue)} have no text that could be read" in ran.output
    assert {"DAMAGED"} == {item.text_gone for item in queue.values()}
    assert "\n0 rows written" in back.output


def test_labels_become_rows_that_the_loader_reads(log):
    """Marked as mined, with all that a written row has."""
    _, queue = drawn(log)
    run("--label", labelled(log.parent, queue), "--queue", log.parent / "q.jsonl", "--rows", log.parent / "rows.jsonl")
    rows = [written.read_row("own", json.loads(line)) for line in (log.parent / "rows.jsonl").read_text().splitlines()]

    assert [("mined/own", ("hate_harassment",), 2, 1.0)] * len(queue) == [
        (row.source, row.harmful_in, row.severity, row.weight) for row in rows
    ]


def test_reports_in_the_log_are_labels_too(log):
    """Of what they do not say everything no row is made."""
    _, queue = drawn(log)
    ran = run("--label", log, "--queue", log.parent / "q.jsonl", "--rows", log.parent / "rows.jsonl")

    assert f"1 of {len(queue)} items are labelled" in ran.output
    assert "\n0 rows written" in ran.output


def test_unclear_labels_judge_nothing_and_teach(log):
    """They are counted apart."""
    _, queue = drawn(log)
    labels = labelled(log.parent, queue, clarity="unclear")
    ran = run("--label", labels, "--queue", log.parent / "q.jsonl", "--rows", log.parent / "rows.jsonl")

    assert f"{len(queue)} of them unclear" in ran.output
    assert "nothing labelled" in ran.output
    assert f"{len(queue)} rows written, for `fit` only" in ran.output


@pytest.mark.parametrize(
    "arguments", [(), ("log",), ("--label", "l.csv"), ("log", "--out", "q", "--rows", "r"), ("--out", "q")]
)
def test_options_that_do_not_go_together_are_refused(tmp_path, arguments):
    """With what does."""
    error = run(*arguments).error

    assert isinstance(error, ConfigError)
    assert "give LOG... and --out" in str(error)
