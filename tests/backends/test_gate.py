"""gate.npz: what is refused, and that distances come from the same run as the scores."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import CATEGORIES
from interlock_server.assurance.gate import CHECKS
from interlock_server.backends.backend import Run
from interlock_server.backends.gate import Distances, read_gate
from interlock_server.backends.onnx import OnnxBackend
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .cases import DATA, manifest

WIDTH = 4
EXCHANGE = Exchange("tea", "She had a cup of tea. The tea was hot. He had none. " * 4 + "She gave him hers.")


def arrays(**changes: Any) -> dict[str, Any]:
    """A small gate."""
    ranks = {f"{check}_sizes": np.array([1]) for check in CHECKS} | {f"{check}_1": np.arange(9.0) for check in CHECKS}
    return {
        "prototypes": np.vstack([np.eye(WIDTH)] * 3),
        "surprise": np.ones((29, 29, 29)),
        "ordinary": np.array(1.0),
        **ranks,
        **changes,
    }


def saved(folder: Path, **changes: Any) -> Path:
    """Without the arrays that are None."""
    np.savez(folder / "gate.npz", **{name: array for name, array in arrays(**changes).items() if array is not None})
    return folder / "gate.npz"


def backend(folder: Path, model: str = "hidden.onnx", **changes: Any) -> OnnxBackend:
    """With a gate."""
    files = {"model": DATA / model, "tokenizer": DATA / "tokenizer.json", "gate": saved(folder, **changes)}
    return OnnxBackend(manifest("onnx"), files)


def test_it_is_read_as_it_was_written(tmp_path: Path):
    """Every check with its groups."""
    sizes = {"letters_sizes": np.array([0, 60]), "letters_0": np.array([0.5]), "letters_60": np.array([1.0, 2.0])}
    gate = read_gate(saved(tmp_path, **sizes), "tester")

    assert ("tester", 1.0) == (gate.member, gate.ordinary)
    assert ((0, 60), ((0.5,), (1.0, 2.0))) == (gate.ranks["letters"].sizes, gate.ranks["letters"].groups)
    assert 29**3 == len(gate.surprise)


@pytest.mark.parametrize(
    "missing", ["surprise", "ordinary", *(f"{check}_{part}" for check in CHECKS for part in ("sizes", 1))]
)
def test_a_gate_without_a_part_is_refused(tmp_path: Path, missing: str):
    """It would have no p-values, and withhold everything."""
    with pytest.raises(BackendError, match=r"^member tester: gate\.npz is not a gate$"):
        read_gate(saved(tmp_path, **{missing: None}), "tester")


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": np.ones((28, 28, 28))},
        {"surprise": np.full((29, 29, 29), np.nan)},
        {"ordinary": np.array(np.inf)},
        {"ordinary": np.ones(2)},
        {"words_1": np.array([2.0, 1.0])},
        {"words_1": np.array([])},
        {"words_1": np.array([np.nan])},
        {"words_1": np.array(["tea"])},
    ],
)
def test_a_gate_of_other_things_is_refused(tmp_path: Path, changes: dict[str, Any]):
    """Numbers that are none, and groups that are not sorted."""
    with pytest.raises(BackendError, match=r"^member tester: gate\.npz is not a gate$"):
        read_gate(saved(tmp_path, **changes), "tester")


@pytest.mark.parametrize("content", [b"", b"xyzzy-marker", b"PK\x03\x04xyzzy-marker"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes):
    """By whoever reads it first."""
    (tmp_path / "gate.npz").write_bytes(content)
    for read in (read_gate, Distances):
        with pytest.raises(BackendError, match=r"^member tester: gate\.npz does not load: \w+$"):
            read(tmp_path / "gate.npz", "tester")


@pytest.mark.parametrize("prototypes", [None, np.eye(9), np.ones(40)])
def test_a_gate_without_prototypes_is_refused(tmp_path: Path, prototypes: Any):
    """Or with fewer than are looked at."""
    with pytest.raises(BackendError, match=r"^member tester: gate\.npz has no 10 prototypes or more$"):
        Distances(saved(tmp_path, prototypes=prototypes), "tester")


def test_a_distance_is_an_angle(tmp_path: Path):
    """To the ten nearest; how long a state is means nothing."""
    rows = np.array([[1, 0, 0, 0]] * 10 + [[-1, 0, 0, 0]] * 5)
    distances = Distances(saved(tmp_path, prototypes=rows), "tester")

    assert [0.0, 1.0, 1.0] == distances(np.array([[7, 0, 0, 0], [0, 2, 0, 0], [-3, 0, 0, 0]], np.float32)).tolist()


@pytest.mark.parametrize(
    "state", [np.full((1, WIDTH), np.nan), np.full((1, WIDTH), np.inf), np.zeros((1, WIDTH)), np.ones((1, WIDTH + 1))]
)
def test_a_state_that_is_none_has_no_distance(tmp_path: Path, state: Any):
    """It must not look near."""
    assert not np.isfinite(Distances(saved(tmp_path), "tester")(state.astype(np.float32))).any()


def test_distances_come_with_the_scores(tmp_path: Path):
    """One column more; the scores are those of the same model without a gate."""
    gated = backend(tmp_path)
    plain = OnnxBackend(manifest("onnx"), {"model": DATA / "tiny.onnx", "tokenizer": DATA / "tokenizer.json"})
    windows = gated.read(EXCHANGE).windows
    rows = gated.score(windows, Run())

    assert (len(windows), len(CATEGORIES) + 1) == rows.shape
    assert np.allclose(plain.score(windows, Run()), rows[:, :-1], rtol=0, atol=1e-6)
    assert (rows[:, -1] > 0).all()


def test_each_window_has_its_own_distance(tmp_path: Path):
    """In company as alone, whatever the order."""
    gated = backend(tmp_path)
    windows = gated.read(EXCHANGE).windows
    alone = [gated.score([window], Run())[0].tolist() for window in windows]

    assert len(windows) > 1
    assert np.allclose(alone[::-1], gated.score(windows[::-1], Run()))


def test_a_model_without_hidden_states_is_refused(tmp_path: Path):
    """A gate needs something to look at."""
    with pytest.raises(BackendError, match=r"^member tester: the model has no output hidden, which its gate looks at$"):
        backend(tmp_path, model="tiny.onnx")


def test_a_gate_of_another_model_holds_everything_back(tmp_path: Path):
    """States of another width have no distance."""
    gated = backend(tmp_path, prototypes=np.ones((10, 3)))
    windows = gated.read(EXCHANGE).windows

    assert np.isnan(gated.score(windows, Run())[:, -1]).all()


def test_the_file_is_a_copy_that_may_be_deleted(tmp_path: Path):
    """Nothing is read again while serving."""
    (tmp_path / "folder").mkdir()
    gated = backend(tmp_path / "folder")
    shutil.rmtree(tmp_path / "folder")

    assert 1 == len(gated.score(gated.read(EXCHANGE).windows[:1], Run()))
