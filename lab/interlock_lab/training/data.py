"""All real and written sets -> one schema, capped, clustered and split by cluster. Start here to see what is learned from.

No public benchmark is read, and the canaries only to keep their near-duplicates out.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from interlock_server.errors import InterlockError

from interlock_lab.training.clusters import assign_clusters, drop_near, largest_clusters, near_duplicate_keys
from interlock_lab.training.rows import CATEGORIES, SPLITS, Row, hash_unit, in_split, labels, split_of
from interlock_lab.training.sources import assistant, fiction, hate, written
from interlock_lab.training.sources.files import json_lines
from interlock_lab.tricks import TRICKS

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
    "framenet": (2200, 4500),
    "framenet_look_alike": (0, 2500),
    "gptfuzz": (1200, 1200),
    "diasafety": (1800, 2600),
    "toxigen": (1500, 1700),
    "implicithate": (800, 800),
    "davidson": (1100, 1200),
    "davidson_profanity": (0, 900),
    "edos": (1400, 1600),
    "toxic_spans": (700, 0),
}
LEGIBLE = ("leet", "leet with symbols", "spaced letters", "dotted letters", "repeated letters", "line break per word")
TRICKED_HARMFUL, TRICKED_BENIGN = 0.10, 0.16
TRICKED_CHARS_MAX = 220
UNLABELLED_MAX = 45_000


def load(data_dir: Path, project_data: Path = PROJECT_DATA, rows_max: int | None = None) -> list[Row]:
    rows = list(written.read(project_data / "written"))
    left_out: list[Row] = []
    for folder, reader in READERS.items():
        if (data_dir / folder).is_dir():
            kept, beyond_caps = capped(row for row in reader(data_dir / folder) if _teaches(row))
            rows.extend(kept)
            left_out.extend(beyond_caps)
        else:
            log.warning("MISSING source %s: training goes on without it", folder)
    rows = thinned(rows, rows_max)
    canaries = project_data / "canaries.jsonl"
    rows = without_canaries(rows, canaries)
    # Mined rows join no clusters: they could pull others from one split into another.
    found = [row for row in rows if row.mined]
    rows = split(assign_clusters([row for row in rows if not row.mined]))
    rows = [*rows, *mined(found, rows)]
    rows = [*rows, *tricked(rows), *unlabelled(without_canaries(left_out, canaries), rows)]
    refuse_leaks(rows)
    return rows


def refuse_leaks(rows: Sequence[Row]) -> None:
    """Raises InterlockError when two splits share a cluster, a key or nearly the same text, or a mined row is to judge."""
    owner: dict[str, str] = {}
    for row in rows:
        if row.mined and row.split != "fit":
            raise InterlockError(f"row {row.id} was mined and must not be in split {row.split}")
        for key in (f"cluster:{row.cluster}", *row.keys, *near_duplicate_keys(row.completion)):
            if owner.setdefault(key, row.split) != row.split and {owner[key], row.split} != {"fit", "unlabelled"}:
                raise InterlockError(f"row {row.id} of split {row.split} shares {key[:60]!r} with split {owner[key]}")


def _teaches(row: Row) -> bool:
    return bool(row.completion.strip()) and any(value is not None for value in row.label_vector)


def capped(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """(kept, beyond the caps), the same ones every time."""
    by_kind: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row.source, bool(row.harmful_in)].append(row)
    kept: list[Row] = []
    beyond: list[Row] = []
    for (source, harmful), group in by_kind.items():
        limit = CAPS[source][0 if harmful else 1] if source in CAPS else len(group)
        ordered = sorted(group, key=lambda row: hash_unit(f"cap:{row.id}"))
        kept.extend(ordered[:limit])
        beyond.extend(ordered[limit:])
    return kept, beyond


def thinned(rows: list[Row], rows_max: int | None) -> list[Row]:
    if rows_max is None or len(rows) <= rows_max:
        return rows
    return sorted(rows, key=lambda row: hash_unit(f"thin:{row.id}"))[:rows_max]


def without_canaries(rows: Sequence[Row], path: Path) -> list[Row]:
    if not path.exists():
        log.warning("NO CANARIES at %s: nothing keeps them out of training", path.name)
        return list(rows)
    canaries = list(json_lines(path))
    kept, _ = drop_near(rows, (item["completion"] for item in canaries))
    prompts = {item["prompt"].lower().strip() for item in canaries} - {""}
    kept = [row for row in kept if row.prompt.lower().strip() not in prompts]
    if len(kept) < len(rows):
        log.warning("dropped %d rows that are near a canary or answer its prompt", len(rows) - len(kept))
    return kept


def split(rows: Iterable[Row]) -> list[Row]:
    """A cluster with one row set aside for block-rate checks is set aside as a whole."""
    rows = list(rows)
    aside = {row.cluster for row in rows if row.split == "benign_check"}
    return [replace(row, split="benign_check" if row.cluster in aside else split_of(row.cluster)) for row in rows]


def tricked(rows: Sequence[Row]) -> list[Row]:
    """Some short rows of `fit` again, hidden by a trick: strange letters are no harm, and legible ones still are.

    Harmful rows only by tricks that leave the raw text legible; of the others a view shows what they hide.
    """
    found = []
    for row in in_split(rows, "fit"):
        number = hash_unit(f"trick:{row.id}")
        # Benign rows wear the legible ones as often as harmful rows do: otherwise the trick would become the label.
        names, share = (LEGIBLE, TRICKED_HARMFUL) if row.harmful_in else ((*LEGIBLE * 4, *TRICKS), TRICKED_BENIGN)
        if number < share and len(row.completion) <= TRICKED_CHARS_MAX and _known_everywhere(row):
            name = names[int(number / share * len(names))]
            text = TRICKS[name](row.completion)
            found.append(replace(row, id=f"{row.id}, {name}", source="tricked", completion=text, label_source="trick"))
    return found


def unlabelled(left_out: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Texts beyond the caps, without labels: the encoder's word on them teaches `sentences`. None is near another split."""
    free = _near_fit_alone(thinned(list(left_out), UNLABELLED_MAX), rows)
    return [replace(row, labels=labels(), source="unlabelled", cluster=row.id, split="unlabelled") for row in free]


def mined(found: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Rows that were picked for their scores enter `fit` only. None is near another split."""
    free = assign_clusters(list(_near_fit_alone(found, rows))) if found else []
    return [replace(row, split="fit") for row in free]


def _near_fit_alone(candidates: Iterable[Row], rows: Iterable[Row]) -> Iterator[Row]:
    """Those of the candidates that share nothing with a row of another split."""
    others = [row for row in rows if row.split != "fit"]
    forbidden = {key for row in others for key in (*row.keys, *near_duplicate_keys(row.completion))}
    return (row for row in candidates if forbidden.isdisjoint((*row.keys, *near_duplicate_keys(row.completion))))


def _known_everywhere(row: Row) -> bool:
    return None not in row.label_vector


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Counts for the report: rows and clusters per split, and per source and head what is positive and negative."""
    heads: dict[str, dict[str, str]] = {}
    for source in sorted({row.source for row in rows}):
        mine = [row for row in rows if row.source == source and row.split not in ("benign_check", "unlabelled")]
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
