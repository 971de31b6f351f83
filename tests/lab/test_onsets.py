import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interlock_lab.onsets import Onset, joined, load_onsets
from interlock_lab.training.rows import BENIGN, Row
from interlock_server.errors import ConfigError

TEXT = "Die Tür fiel zu. Then he broke her arm. Rain fell."  # the umlaut: bytes and characters differ
ROW = Row(id="one", source="set", completion=TEXT, labels=BENIGN, label_source="test", split="shape")
ANNOTATED: Mapping[str, Any] = {
    "source": "set",
    "id": "one",
    "sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
    "bytes": 51,
    "sentences": 3,
    "category": "violence_injury",
    "onset_byte": 18,
    "onset_sentence": 1,
    "end_byte": 41,
    "clear": True,
}
ONSET = Onset(**ANNOTATED)


def test_annotations_find_their_rows(tmp_path: Path) -> None:
    """A file without any text, and rows with it, become texts of which the harmful bytes are known."""
    path = tmp_path / "onsets.jsonl"
    path.write_text(json.dumps(dict(ANNOTATED)) + "\n")
    (found,) = joined(load_onsets(path), [replace(ROW, id="other"), ROW])
    harmful = found.row.completion.encode()[found.onset.onset_byte : found.onset.end_byte]
    assert ("one", b"Then he broke her arm. ") == (found.row.id, harmful)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (replace(ROW, source="unlabelled"), "one: set has no such row"),
        (replace(ROW, completion=TEXT + "!"), r"one: .* not the one that was annotated \(sha256\)"),
        (replace(ROW, split="certify"), "one: the row is in split 'certify'"),
    ],
)
def test_rows_that_do_not_match_are_named(row: Row, complaint: str) -> None:
    """A row that is gone, was edited, or has come to certify something is an error and not one delay fewer."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        joined([ONSET], [row])
    assert "broke" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sentences": 2}, "one: 3 sentences in 51 bytes, annotated: 2 in 51"),
        ({"onset_byte": 17}, "one: onset_byte, .* do not agree"),
        ({"onset_sentence": 7}, "one: onset_byte, .* do not agree"),
        ({"end_byte": 18}, "one: onset_byte, .* do not agree"),
    ],
)
def test_places_are_at_sentences_of_the_text(change: dict[str, int], complaint: str) -> None:
    """Texts that are cut differently now than when they were annotated would give wrong delays."""
    with pytest.raises(ConfigError, match=complaint):
        joined([ONSET.model_copy(update=change)], [ROW])


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    """Half a line, or one with a text in it, is refused with its number."""
    path = tmp_path / "onsets.jsonl"
    for line, complaint in (
        ('{"id": ', "line 2 is not JSON"),
        (json.dumps({**ANNOTATED, "text": TEXT}), "line 2: text"),
    ):
        path.write_text(f"{json.dumps(dict(ANNOTATED))}\n{line}\n")
        with pytest.raises(ConfigError, match=complaint):
            load_onsets(path)


def test_the_annotations_of_the_project_load() -> None:
    """Each text once, at least three sentences long, and of every category some."""
    onsets = load_onsets()
    assert len(onsets) == len({onset.sha256 for onset in onsets})
    assert all(onset.sentences >= 3 and 200 <= onset.bytes <= 8192 for onset in onsets)
    assert {"violence_injury", "illicit", "hate_harassment", "self_harm"} == {onset.category for onset in onsets}
