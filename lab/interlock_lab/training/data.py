"""All real and written sets -> one schema, capped, clustered and split by cluster. Start here to see what is learned from.

No public benchmark is read, and the canaries only to keep their near-duplicates out.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from interlock_lab.training.clusters import assign_clusters, drop_near, largest_clusters
from interlock_lab.training.rows import CATEGORIES, SPLITS, Row, hash_unit, split_of
from interlock_lab.training.sources import assistant, fiction, hate, written
from interlock_lab.training.sources.files import json_lines

log = logging.getLogger(__name__)

PROJECT_DATA = Path(__file__).resolve().parents[2] / "data"

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "framenet15": fiction.framenet,
    "passage-tw": fiction.passages,
    "safetext": fiction.safetext,
    "hanna": fiction.hanna,
    "dolly-subset": fiction.dolly,
    "gptfuzz": assistant.gptfuzz,
    "jbb": assistant.jailbreakbench,
    "advbench": assistant.advbench,
    "diasafety": assistant.diasafety,
    "safenlp": hate.safenlp,
    "davidson": hate.davidson,
    "edos": hate.edos,
    "surge": hate.surge,
    "toxic-spans": hate.toxic_spans,
}
# (harmful rows, benign rows) at most, so that no source becomes the label. Not listed: no cap.
CAPS = {
    "framenet": (2500, 5000),
    "framenet_look_alike": (0, 2500),
    "gptfuzz": (2200, 2200),
    "diasafety": (2600, 3500),
    "toxigen": (1500, 1700),
    "implicithate": (1000, 1000),
    "davidson": (1100, 1200),
    "davidson_profanity": (0, 900),
    "edos": (1700, 2000),
    "toxic_spans": (700, 0),
}


def load(data_dir: Path, project_data: Path = PROJECT_DATA, rows_max: int | None = None) -> list[Row]:
    rows = list(written.read(project_data / "written"))
    for folder, reader in READERS.items():
        if (data_dir / folder).is_dir():
            rows.extend(capped(row for row in reader(data_dir / folder) if _teaches(row)))
        else:
            log.warning("MISSING source %s: training goes on without it", folder)
    rows = thinned(rows, rows_max)
    rows = without_canaries(rows, project_data / "canaries.jsonl")
    return split(assign_clusters(rows))


def _teaches(row: Row) -> bool:
    return bool(row.completion.strip()) and any(value is not None for value in row.label_vector)


def capped(rows: Iterable[Row]) -> list[Row]:
    by_kind: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row.source, bool(row.harmful_in)].append(row)
    kept: list[Row] = []
    for (source, harmful), group in by_kind.items():
        limit = CAPS[source][0 if harmful else 1] if source in CAPS else len(group)
        kept.extend(sorted(group, key=lambda row: hash_unit(f"cap:{row.id}"))[:limit])
    return kept


def thinned(rows: list[Row], rows_max: int | None) -> list[Row]:
    if rows_max is None or len(rows) <= rows_max:
        return rows
    return sorted(rows, key=lambda row: hash_unit(f"thin:{row.id}"))[:rows_max]


def without_canaries(rows: Sequence[Row], path: Path) -> list[Row]:
    if not path.exists():
        log.warning("NO CANARIES at %s: nothing keeps them out of training", path.name)
        return list(rows)
    kept, dropped = drop_near(rows, (item["completion"] for item in json_lines(path)))
    if dropped:
        log.warning("dropped %d rows that are near-duplicates of canaries", len(dropped))
    return kept


def split(rows: Iterable[Row]) -> list[Row]:
    """A cluster with one row set aside for block-rate checks is set aside as a whole."""
    rows = list(rows)
    aside = {row.cluster for row in rows if row.split == "benign_check"}
    return [replace(row, split="benign_check" if row.cluster in aside else split_of(row.cluster)) for row in rows]


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Counts for the report: rows and clusters per split, and per source and head what is positive and negative."""
    heads: dict[str, dict[str, str]] = {}
    for source in sorted({row.source for row in rows}):
        mine = [row for row in rows if row.source == source and row.split != "benign_check"]
        counts = {name: Counter(_sign(row.labels[name]) for row in mine) for name in CATEGORIES}
        heads[source] = {name: f"{c['+']}+ {c['-']}-" for name, c in counts.items() if c["+"] or c["-"]}
    return {
        "rows": {name: sum(row.split == name for row in rows) for name in SPLITS},
        "clusters": {name: len({row.cluster for row in rows if row.split == name}) for name in SPLITS},
        "largest_clusters": largest_clusters(rows),
        "heads": heads,
    }


def _sign(label: float | None) -> str:
    return "?" if label is None else "+" if label > 0.5 else "-"
