"""The linear backend: which files it refuses, and that its score is the sum that it says it is."""

from pathlib import Path

import numpy as np
import pytest
from interlock_server.backends.backend import Run, logistic
from interlock_server.backends.linear import LinearBackend
from interlock_server.backends.ngram_features import BUCKETS, ngram_ids
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .cases import linear, manifest

MARKER = "xyzzy-marker"


def load(path: Path) -> LinearBackend:
    return LinearBackend(manifest("linear"), {"model": path})


@pytest.mark.parametrize("content", [b"", MARKER.encode(), b"PK\x03\x04" + MARKER.encode(), b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes):
    """Whatever the damage, the message names the member and the file, and quotes nothing."""
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"^member tester: model\.npz does not load: \w+$") as caught:
        load(path)

    assert MARKER not in str(caught.value)


def test_a_file_that_ends_early_is_refused(tmp_path: Path):
    """A copy that was interrupted."""
    linear(tmp_path)
    path = tmp_path / "model.npz"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(BackendError, match=r"^member tester: model\.npz does not load"):
        load(path)


@pytest.mark.parametrize(
    "arrays",
    [{"weights": np.zeros((8, 4)), "bias": np.zeros(4)}, {"weights": np.zeros((BUCKETS, 4)), "bias": np.zeros(3)}],
)
def test_other_shapes_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]):
    """The weights of another build, or of other categories."""
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(BackendError, match=r"^member tester: weights have shape"):
        load(tmp_path / "model.npz")


def test_a_missing_array_is_refused(tmp_path: Path):
    """Weights without a bias."""
    np.savez(tmp_path / "model.npz", weights=np.zeros((8, 4)))
    with pytest.raises(BackendError, match=r"does not load: KeyError$"):
        load(tmp_path / "model.npz")


def test_a_pickle_is_refused(tmp_path: Path):
    """It could run code."""
    np.savez(tmp_path / "model.npz", weights=np.array([{}]), bias=np.zeros(4))
    with pytest.raises(BackendError, match=r"does not load: ValueError$"):
        load(tmp_path / "model.npz")


def test_the_score_is_the_logistic_of_the_weights_present(tmp_path: Path):
    """Each n-gram counts once."""
    backend = linear(tmp_path).backend
    with np.load(tmp_path / "model.npz") as arrays:
        expected = logistic(arrays["weights"][ngram_ids("a tea")].sum(axis=0, dtype=np.float64)[None, :])

    assert np.allclose(expected, backend.score(backend.read(Exchange("", "a tea")).windows, Run()))


def test_an_infinite_logit_is_no_score():
    """No sound model gives one; 0 for minus infinity would be the safest score there is."""
    found = logistic(np.array([[-np.inf, np.inf, 0.0]]))

    assert [True, True, False] == np.isnan(found)[0].tolist()
