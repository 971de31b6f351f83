import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from interlock_lab.training import data
from interlock_lab.training.clusters import assign_clusters, drop_near, near_duplicate_keys
from interlock_lab.training.rows import BENIGN, Row, labels, split_of
from interlock_lab.training.sources.files import detokenised

LONG = "The gardener carried eleven clay pots across the yard and set them down one by one beside the old well."


def a_row(identifier: str, completion: str = "Tea is ready.", keys: tuple[str, ...] = (), source: str = "test") -> Row:
    return Row(
        id=identifier,
        source=source,
        completion=completion,
        labels=BENIGN,
        label_source="test",
        keys=keys or (identifier,),
    )


def a_project(folder: Path, written: list[str], canaries: list[str]) -> Path:
    (folder / "written").mkdir(parents=True)
    for name, texts in (("written/topic", written), ("canaries", canaries)):
        items = [
            {
                "id": f"topic-{number}",
                "pair": f"p{number // 2}",
                "prompt": "",
                "completion": text,
                "labels": dict.fromkeys(BENIGN, 0),
                "severity": 0,
                "clarity": "clear",
                "kind": "test",
            }
            for number, text in enumerate(texts)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, items)))
    return folder


def loaded(tmp_path: Path, written: list[str], canaries: list[str]) -> list[Row]:
    return data.load(tmp_path / "no_public_sets", a_project(tmp_path / "project", written, canaries))


def test_shared_keys_chain_into_one_cluster() -> None:
    """Rows that are linked only through a third one still end in one cluster, apart from the rest."""
    rows = assign_clusters([a_row("a", keys=("x",)), a_row("b", keys=("x", "y")), a_row("c", keys=("y",)), a_row("d")])
    assert [row.cluster for row in rows] == ["x", "x", "x", "d"]


def test_nearly_equal_texts_share_a_cluster() -> None:
    """Another case, other punctuation and another last word do not make a text independent."""
    other = LONG.upper().replace("WELL.", "gate!")
    left, right = assign_clusters([a_row("a", LONG), a_row("b", other)])
    assert left.cluster == right.cluster


def test_refusals_do_not_link_their_questions() -> None:
    """Refusals look alike whatever was asked; linking by them would make one giant cluster."""
    assert near_duplicate_keys("I'm sorry, but I cannot help with that request, because it is dangerous for you.") == []


def test_no_cluster_is_in_two_splits(tmp_path: Path) -> None:
    """The two texts of a pair, and everything linked to them, are fitted on or judged by, never both."""
    rows = loaded(tmp_path, [f"Sentence number {number} is about the weather in town." for number in range(60)], [])
    splits = {row.cluster: {other.split for other in rows if other.cluster == row.cluster} for row in rows}
    assert {1} == {len(found) for found in splits.values()}


def test_adding_rows_moves_no_cluster() -> None:
    """A split is a function of the cluster's name alone."""
    assert [split_of(name) for name in ("pair:a", "pair:b")] == ["fit", "certify"]


def test_near_duplicates_of_canaries_are_refused(tmp_path: Path) -> None:
    """A canary that leaked into the written rows, even edited, is dropped before training sees it."""
    rows = loaded(
        tmp_path, [LONG.replace("eleven", "twelve"), "Bread rises best in a warm corner of the room."], [LONG]
    )
    assert [row.id for row in rows] == ["topic-1"]


def test_short_canaries_are_refused_too() -> None:
    """A text of three words has no shingles; it is compared as a whole."""
    kept, dropped = drop_near([a_row("a", "Good night, Ada!"), a_row("b", "Good morning, Ada!")], ["good night ada"])
    assert ([row.id for row in kept], [row.id for row in dropped]) == (["b"], ["a"])


def test_an_unfinished_line_is_skipped_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is still being written costs its last line and a warning, not the run."""
    project = a_project(tmp_path, ["One is here.", "Two is here."], [])
    with (project / "written/topic.jsonl").open("a") as file:
        file.write('\n{"id": "topic-2", "pa')
    with caplog.at_level(logging.WARNING):
        rows = data.load(tmp_path / "none", project)
    assert (len(rows), "SKIPPED topic.jsonl line 3" in caplog.text) == (2, True)


def test_caps_are_per_source_and_kind() -> None:
    """A capped source keeps its harmful and its benign quota, whichever is the larger part of the file."""
    source = "davidson_profanity"
    harmful = [replace(a_row(f"h{number}", source=source), labels=labels(illicit=1.0)) for number in range(3)]
    benign = [a_row(f"b{number}", source=source) for number in range(950)]
    assert len(data.capped(harmful + benign)) == 900


def test_rows_set_aside_take_their_cluster_along() -> None:
    """A question with one answer kept for block-rate checks teaches nothing through its other answers."""
    aside = replace(a_row("a"), cluster="c", split="benign_check")
    other = replace(a_row("b"), cluster="c")
    assert [row.split for row in data.split([aside, other])] == ["benign_check", "benign_check"]


def test_corpus_spacing_is_undone() -> None:
    """A space before a comma must not tell the model where a sentence comes from."""
    assert detokenised('Well , he did n\'t ( ever ) say "no" .') == 'Well, he didn\'t (ever) say "no".'
