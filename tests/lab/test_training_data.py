import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from interlock_lab.training import data
from interlock_lab.training.clusters import assign_clusters, drop_near, near_duplicate_keys
from interlock_lab.training.rows import BENIGN, Row, labels, split_of
from interlock_lab.training.sources import written
from interlock_lab.training.sources.files import detokenised, json_lines
from interlock_server.errors import InterlockError

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


def a_project(folder: Path, texts: list[str], canaries: list[str]) -> Path:
    (folder / "written").mkdir(parents=True)
    for name, contents in (("written/topic", texts), ("canaries", canaries)):
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
            for number, text in enumerate(contents)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, items)))
    return folder


def loaded(tmp_path: Path, texts: list[str], canaries: list[str]) -> list[Row]:
    return data.load(tmp_path / "no_public_sets", a_project(tmp_path / "project", texts, canaries))


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
    kept, beyond = data.capped(harmful + benign)
    assert (900, 53) == (len(kept), len(beyond))


def test_whoever_answers_the_prompt_of_a_canary_is_refused(tmp_path: Path) -> None:
    """The same question with another answer would teach what the canary asks."""
    project = a_project(tmp_path, ["Bread rises in a warm corner."], ["Butter melts in a warm corner."])
    for name in ("written/topic", "canaries"):
        path = project / f"{name}.jsonl"
        path.write_text(path.read_text().replace('"prompt": ""', '"prompt": "What happens in a warm corner?"'))
    assert [] == data.load(tmp_path / "none", project)


def test_a_cluster_in_two_splits_stops_the_build() -> None:
    """Leaks are an error with the row's name, not a warning."""
    rows = [replace(a_row(name), cluster="c", split=split) for name, split in (("a", "fit"), ("b", "shape"))]
    with pytest.raises(InterlockError, match="row b of split shape shares 'cluster:c' with split fit"):
        data.refuse_leaks(rows)


def test_tricks_only_hide_rows_of_fit_and_keep_their_labels() -> None:
    """A hidden text is as harmless as the plain one, and stays in its cluster."""
    rows = [replace(a_row(f"r{n}", LONG), split="fit" if n % 2 else "shape", cluster=f"c{n}") for n in range(200)]
    found = data.tricked(rows)
    assert found
    assert {("fit", "tricked", tuple(BENIGN.items()))} == {(r.split, r.source, tuple(r.labels.items())) for r in found}
    assert all(row.cluster in {f"c{n}" for n in range(1, 200, 2)} for row in found)


def test_unlabelled_texts_are_near_no_other_split() -> None:
    """What only the teacher labels must not repeat a row by which models are judged."""
    judged = replace(a_row("j", LONG), split="shape")
    found = data.unlabelled([a_row("near", LONG + " Slowly."), a_row("free", "Snow fell on the ferry.")], [judged])
    assert ["free"] == [row.id for row in found]
    assert {(None,) * 4} == {row.label_vector for row in found}


def test_the_sealed_canaries_are_the_ones_that_were_written() -> None:
    """120 harmful and 120 benign, under the digest beside them; replacing one means sealing anew."""
    sealed = (data.PROJECT_DATA / "canaries.sha256").read_text().split()[0]
    content = (data.PROJECT_DATA / "canaries.jsonl").read_bytes()
    harmful = [any(json.loads(line)["labels"].values()) for line in content.splitlines()]
    assert (sealed, 120, 240) == (hashlib.sha256(content).hexdigest(), sum(harmful), len(harmful))


def test_no_written_row_is_near_a_canary() -> None:
    """The project's own rows, which would teach best, give no canary away."""
    canaries = [item["completion"] for item in json_lines(data.PROJECT_DATA / "canaries.jsonl")]
    _, near = drop_near(list(written.read(data.PROJECT_DATA / "written")), canaries)
    assert [] == [row.id for row in near]


def test_rows_set_aside_take_their_cluster_along() -> None:
    """A question with one answer kept for block-rate checks teaches nothing through its other answers."""
    aside = replace(a_row("a"), cluster="c", split="benign_check")
    other = replace(a_row("b"), cluster="c")
    assert [row.split for row in data.split([aside, other])] == ["benign_check", "benign_check"]


def test_corpus_spacing_is_undone() -> None:
    """A space before a comma must not tell the model where a sentence comes from."""
    assert detokenised('Well , he did n\'t ( ever ) say "no" .') == 'Well, he didn\'t (ever) say "no".'
