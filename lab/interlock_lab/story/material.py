"""What stories are checked on: minimal pairs that no model was fitted on, the sealed canaries, and the words that give harm away.

The splits are those of training: written rows fall into the same ones whether or not the public sets are there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from interlock_lab.story.cues import words_of
from interlock_lab.training.clusters import assign_clusters
from interlock_lab.training.data import PROJECT_DATA, split, without_canaries
from interlock_lab.training.rows import CATEGORIES, Row, hash_unit, in_split
from interlock_lab.training.sources import written
from interlock_lab.training.sources.files import json_lines

TELLING_WORDS, TELLING_FROM, SEEN_MIN = 60, 1.0, 6


@dataclass(frozen=True)
class Pair:
    """Nearly the same words, once harmful and once not."""

    harmful: Row
    benign: Row
    category: str

    @property
    def cluster(self) -> str:
        return self.harmful.cluster


_Case = TypeVar("_Case", Pair, Row)


@dataclass(frozen=True)
class Material:
    """Everything that a check may use. `sample` is the most cases of a check, of which no two share a cluster."""

    rows: Sequence[Row]
    canaries: Sequence[Row]
    sample: int = 1_000

    @cached_property
    def fit(self) -> list[Row]:
        """What members were trained on, of the written rows."""
        return in_split(self.rows, "fit")

    @cached_property
    def shape(self) -> list[Row]:
        """What no model's weights were fitted on; maps and dials were."""
        return in_split(self.rows, "shape")

    @cached_property
    def pairs(self) -> list[Pair]:
        """Minimal pairs of `shape`, one per cluster."""
        return self.drawn(_pairs(self.shape))

    @cached_property
    def telling(self) -> Mapping[str, Mapping[str, float]]:
        """Category -> the words that most give it away in `fit`, with their log-odds."""
        return {category: _telling(self.fit, category) for category in CATEGORIES}

    def drawn(self, cases: Iterable[_Case]) -> list[_Case]:
        """One per cluster, and no more than the sample; the same ones every time."""
        chosen: dict[str, _Case] = {}
        for case in sorted(cases, key=lambda case: hash_unit(f"story:{_id(case)}")):
            chosen.setdefault(case.cluster, case)
        return list(chosen.values())[: self.sample]


def load_material(project_data: Path = PROJECT_DATA, sample: int = 1_000) -> Material:
    """From the checkout; public sets are not needed."""
    canaries = project_data / "canaries.jsonl"
    rows = split(assign_clusters(without_canaries(list(written.read(project_data / "written")), canaries)))
    sealed = [written.read_row("canaries", item) for item in json_lines(canaries)]
    return Material(rows, assign_clusters(sealed), sample)


def _id(case: Pair | Row) -> str:
    return case.id if isinstance(case, Row) else case.harmful.id


def _pairs(rows: Iterable[Row]) -> Iterable[Pair]:
    """Harmful and benign rows with one pair's key that differ in a category."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for key in row.keys:
            if key.startswith("pair:") and row.clarity == "clear":
                groups[key].append(row)
    for group in groups.values():
        for harmful in group:
            for benign in group:
                for category in harmful.harmful_in[:1]:
                    if not benign.harmful_in:
                        yield Pair(harmful, benign, category)


def _telling(rows: Sequence[Row], category: str) -> dict[str, float]:
    harmful = Counter[str]()
    benign = Counter[str]()
    for row in rows:
        (harmful if category in row.harmful_in else benign).update(words_of(row.completion))
    size_harmful = sum(category in row.harmful_in for row in rows)
    size_benign = len(rows) - size_harmful
    odds = {
        word: math.log((count + 0.5) / (size_harmful + 1)) - math.log((benign[word] + 0.5) / (size_benign + 1))
        for word, count in harmful.items()
        if count >= SEEN_MIN
    }
    telling = sorted((item for item in odds.items() if item[1] >= TELLING_FROM), key=lambda item: -item[1])
    return dict(telling[:TELLING_WORDS])
