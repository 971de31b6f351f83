"""Which rows certify: one of each harmful cluster of the split `certify`, by a hash that was fixed before anybody scored them.

Beside them benign rows, so that whoever adjudicates does not know what to expect, and to look for harm that labels hide.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock_lab.training.rows import Row, hash_unit, in_split

SOURCE_GROUPS = {"framenet": "framenet", "framenet_look_alike": "framenet", "advbench": "advbench"}
"""Sources that certify nothing: the labels of the one are senses of words, the rows of the other are requests, not answers."""
HATE_PUBLIC_MAX = 420
BENIGN_COUNT = 450


@dataclass(frozen=True)
class Unit:
    """One row for its whole cluster."""

    row: Row
    source: str
    """`written` for the exchanges of this project, `public` for the public sets."""

    @property
    def sha256(self) -> str:
        return text_digest(self.row.prompt, self.row.completion)


def text_digest(prompt: str, completion: str) -> str:
    """Of what is judged."""
    return hashlib.sha256(f"{prompt}\0{completion}".encode()).hexdigest()


def harmful_units(rows: Sequence[Row]) -> list[Unit]:
    """Of every cluster with a harmful row one such row; of the many hateful ones of public sets as many as can be read."""
    units = _one_each(row for row in in_split(rows, "certify") if row.harmful_in and row.source not in SOURCE_GROUPS)
    hateful = [unit for unit in units if unit.source == "public" and unit.row.harmful_in == ("hate_harassment",)]
    beyond = {unit.row.id for unit in _by_hash(hateful, "certify-hate")[HATE_PUBLIC_MAX:]}
    return [unit for unit in units if unit.row.id not in beyond]


def benign_units(rows: Sequence[Row]) -> list[Unit]:
    """Of random clusters without a harmful row one row each."""
    certify = in_split(rows, "certify")
    harmful = {row.cluster for row in certify if row.harmful_in}
    units = _one_each(row for row in certify if row.cluster not in harmful)
    return sorted(_by_hash(units, "certify-benign")[:BENIGN_COUNT], key=lambda unit: unit.row.id)


def _one_each(rows: Iterable[Row]) -> list[Unit]:
    by_cluster: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_cluster[row.cluster].append(row)
    chosen = (min(group, key=lambda row: hash_unit(f"certify:{row.id}")) for group in by_cluster.values())
    units = [Unit(row, "written" if row.source.startswith("written/") else "public") for row in chosen]
    return sorted(units, key=lambda unit: unit.row.id)


def _by_hash(units: Iterable[Unit], salt: str) -> list[Unit]:
    return sorted(units, key=lambda unit: hash_unit(f"{salt}:{unit.row.id}"))
