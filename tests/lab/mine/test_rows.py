"""Mined rows were picked for their scores: they may teach and must not judge, and they move nothing that does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from interlock_lab.training import data
from interlock_lab.training.rows import BENIGN, CATEGORIES, Row
from interlock_server.errors import InterlockError

from .samples import text

WRITTEN = [text(number).decode() for number in range(60)]


def loaded(folder: Path, mined: list[str]) -> list[Row]:
    """A project with these mined texts beside sixty written ones."""
    (folder / "written").mkdir(parents=True)
    for stem, texts in (("written", WRITTEN), ("mined", mined)):
        items = [
            {
                "id": f"{stem}-{number}",
                "source": stem,
                "pair": "",
                "prompt": "",
                "completion": completion,
                "labels": dict.fromkeys(CATEGORIES, 0),
                "severity": 0,
                "clarity": "clear",
                "kind": "test",
            }
            for number, completion in enumerate(texts)
        ]
        (folder / "written" / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, items)))
    return data.load(folder / "no_public_sets", folder)


def test_mined_rows_enter_fit_only(tmp_path):
    """Wherever the hash of their names would have put them."""
    rows = loaded(tmp_path, [text(number).decode() for number in range(100, 160)])

    assert {"fit": 60} == {split: sum(row.mined for row in rows if row.split == split) for split in {"fit"}}
    assert 60 == sum(row.mined for row in rows)


def test_a_mined_row_near_one_that_judges_is_left_out(tmp_path):
    """Near one of `fit` it stays."""
    rows = loaded(tmp_path, [one.upper() for one in WRITTEN])
    fit = {row.id.removeprefix("written-") for row in rows if row.split == "fit" and row.source == "written/written"}

    assert fit == {row.id.removeprefix("mined-") for row in rows if row.mined}


def test_mined_rows_move_no_other(tmp_path):
    """Not even one that is near two of them."""
    bridge = f"{WRITTEN[0]} {WRITTEN[1]}"
    splits = [
        {row.id: (row.cluster, row.split) for row in loaded(tmp_path / name, mined) if row.source == "written/written"}
        for name, mined in (("with", [bridge, *WRITTEN]), ("without", []))
    ]

    assert splits[0] == splits[1]


@pytest.mark.parametrize("split", ["shape", "certify", "benign_check", "unlabelled"])
def test_the_loader_refuses_a_mined_row_elsewhere(split):
    """Whoever put it there."""
    row = Row(id="m", source="mined/own", completion="Tea is ready.", labels=BENIGN, label_source="mined", split=split)
    data.refuse_leaks([replace(row, split="fit")])
    with pytest.raises(InterlockError, match="was mined"):
        data.refuse_leaks([row])
