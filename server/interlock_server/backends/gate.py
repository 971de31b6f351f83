"""gate.npz: what the gated member's hidden states are compared with, and the calibration of the gate's checks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlock_server.assurance.gate import CHECKS, Gate, Ranks
from interlock_server.errors import BackendError
from interlock_server.text.gibberish import LETTER_CLASSES, SURPRISE_PARTS

Floats = NDArray[np.float64]
NEAREST = 10
_BYTES_MAX = 4 << 20


class Distances:
    """How far hidden states are from those of texts that the model was taught with, by angle: the nearest of a few
    hundred prototypes, rows of length one in the array `prototypes`. Raises BackendError when the file has none.
    """

    def __init__(self, path: Path, member: str) -> None:
        prototypes = _arrays(path, member).get("prototypes")
        if prototypes is None or prototypes.ndim != 2 or len(prototypes) < NEAREST:
            raise BackendError(f"member {member}: {path.name} has no {NEAREST} prototypes or more")
        self._prototypes = prototypes.astype(np.float32).T
        self.width = len(self._prototypes)
        """Of the states that can be compared."""

    def __call__(self, hidden: NDArray[np.float32]) -> Floats:
        """One for each row, 0 to 2; not a number where a state is none, and for states of another width."""
        if hidden.ndim != 2 or hidden.shape[1] != self.width:
            return np.full(len(hidden), np.nan)
        with np.errstate(all="ignore"):
            cosines = hidden @ self._prototypes / np.sqrt(np.einsum("nw,nw->n", hidden, hidden))[:, np.newaxis]
        cosines.partition(cosines.shape[1] - NEAREST, axis=1)  # what is not a number goes last, and counts
        return np.asarray(1 - cosines[:, -NEAREST:].mean(axis=1), dtype=np.float64)


def read_gate(path: Path, member: str) -> Gate:
    """The gate of a member; raises BackendError when the file does not hold one."""
    arrays = _arrays(path, member)
    try:
        ranks = {check: _ranks(arrays, check) for check in CHECKS}
        surprise = arrays["surprise"].astype(float)
        ordinary = float(arrays["ordinary"])
        if surprise.shape != 3 * (len(LETTER_CLASSES),) or not np.isfinite(surprise).all() or not np.isfinite(ordinary):
            raise ValueError("surprise")
    except (KeyError, ValueError, TypeError) as error:
        raise BackendError(f"member {member}: {path.name} is not a gate") from error
    parts = np.clip(np.rint(surprise * SURPRISE_PARTS), 0, 255).astype(np.uint8)
    return Gate(member, ranks, parts.tobytes(), ordinary)


def _ranks(arrays: Mapping[str, NDArray[np.generic]], check: str) -> Ranks:
    sizes = tuple(arrays[f"{check}_sizes"].astype(int).tolist())
    return Ranks(sizes, tuple(tuple(arrays[f"{check}_{size}"].astype(float).tolist()) for size in sizes))


def _arrays(path: Path, member: str) -> dict[str, NDArray[np.generic]]:
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ValueError("size")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged archive may raise anything, also of zipfile and zlib
        raise BackendError(f"member {member}: {path.name} does not load: {type(error).__name__}") from error
