"""A gate from texts: hidden states of what the encoder was taught with, ranks of what it never saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from interlock_server.assurance.gate import CHECKS, Ranks
from interlock_server.backends.gate import read_gate
from interlock_server.backends.onnx import OnnxBackend, inputs_of, load_session, session_options
from interlock_server.backends.padding import fill
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.inference.gating import look
from interlock_server.inference.scoring import Member, score_exchange
from interlock_server.text.exchange import Exchange
from interlock_server.text.scripts import in_known_script
from rich.progress import track

from interlock_lab.gate.letters import letter_surprise, mean_surprise
from interlock_lab.gate.ranks import TEXT_SIZES, WINDOW_SIZES, ranks
from interlock_lab.training.rows import Row, hash_unit

REFERENCE_MAX = 5_000
PROTOTYPES = 300
LONG_CHARS = 1_200
"""Long texts are rare: of them every row counts, of shorter ones one for each cluster."""

Files = Mapping[str, Path]
Floats = npt.NDArray[np.float64]
Found = Mapping[str, tuple[float, int]]
"""Check -> strangeness and size."""


@dataclass(frozen=True)
class Looked:
    """A row, and what each check found in it."""

    row: Row
    found: Found


def reference_rows(rows: Iterable[Row]) -> list[Row]:
    """What the encoder was taught with, one row of each cluster."""
    return _one_each(row for row in rows if row.split == "fit" and row.source != "tricked")[:REFERENCE_MAX]


def calibration_rows(rows: Iterable[Row]) -> list[Row]:
    """What the encoder never saw and nobody certifies with."""
    unseen = [row for row in rows if row.split in ("shape", "benign_check")]
    short = _one_each(row for row in unseen if len(row.completion) < LONG_CHARS)
    return short + [row for row in unseen if len(row.completion) >= LONG_CHARS]


def reference_arrays(member: MemberManifest, files: Files, rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
    """What distances and letters are compared with."""
    from sklearn.cluster import MiniBatchKMeans

    states = _unit(hidden_states(member, files, rows))
    count = min(PROTOTYPES, len(states) // 4)
    fitted = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=2048).fit(states)
    texts = [Exchange("", row.completion).canonical.text for row in rows]
    surprise = letter_surprise(texts)
    return {
        "prototypes": _unit(fitted.cluster_centers_).astype(np.float32),
        "surprise": surprise.astype(np.float32),
        "ordinary": np.array(mean_surprise(texts, surprise)),
    }


def hidden_states(member: MemberManifest, files: Files, rows: Sequence[Row]) -> Floats:
    """Of every window of the rows, one after the other."""
    backend = OnnxBackend(member, {role: path for role, path in files.items() if role != "gate"})
    session = load_session(files["model"], session_options(), [backend.provider], member.name)
    names = inputs_of(session, member.name)
    states = []
    for row in track(rows, "hidden states"):
        for window in backend.read(Exchange(row.prompt, row.completion)).windows:
            feed = {name: np.empty((1, len(window.ids)), np.int64) for name in names}
            fill(feed, [window])
            states.append(session.run(["hidden"], feed)[0][0])
    return np.array(states, dtype=np.float64)


def looked_at(member: MemberManifest, files: Files, rows: Sequence[Row]) -> list[Looked]:
    """What each check finds in each row that the service would show to its members, by the service's own code."""
    gate = read_gate(files["gate"], member.name)
    asked = Member(member.name, tuple(member.categories), OnnxBackend(member, files), gated=True)
    found = []
    for row in track(rows, "calibration"):
        exchange = Exchange(row.prompt, row.completion)
        if exchange.unreadable or not in_known_script(exchange.canonical.text):
            continue
        report = score_exchange(asked, exchange)
        if report.distance is not None:
            seen, size = look(gate, exchange), len(exchange.canonical.text)
            checks = {"distance": (report.distance, report.distance_windows)}
            found.append(Looked(row, {**checks, "letters": (seen.letters, size), "words": (seen.words, size)}))
    return found


def ranked(looked: Sequence[Looked]) -> dict[str, Ranks]:
    """The calibration of every check."""
    starts = {"distance": WINDOW_SIZES, "letters": TEXT_SIZES, "words": TEXT_SIZES}
    columns = {check: list(zip(*(each.found[check] for each in looked), strict=True)) for check in CHECKS}
    return {check: ranks(columns[check][0], columns[check][1], starts[check]) for check in CHECKS}


def save_gate(path: Path, arrays: Mapping[str, npt.NDArray[Any]], found: Mapping[str, Ranks]) -> None:
    """gate.npz, as the service reads it."""
    ranked_arrays: dict[str, Any] = dict(arrays)
    for check, item in found.items():
        ranked_arrays[f"{check}_sizes"] = np.array(item.sizes)
        ranked_arrays |= {f"{check}_{size}": np.array(g) for size, g in zip(item.sizes, item.groups, strict=True)}
    np.savez(path, **ranked_arrays)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


UNFITTED = {check: Ranks((0,), ((0.0,),)) for check in CHECKS}


def _one_each(rows: Iterable[Row]) -> list[Row]:
    """One row of each cluster, by a hash that depends on nothing else; in the order of that hash."""
    by_cluster: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_cluster[row.cluster].append(row)
    key: Callable[[Row], float] = lambda row: hash_unit(f"gate:{row.id}")  # noqa: E731
    return sorted((min(group, key=key) for group in by_cluster.values()), key=key)
