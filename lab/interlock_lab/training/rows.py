"""One row of training data, whatever it came from: an exchange, what is known about it, and who shares its cluster.

A label is a probability or None; None means that nobody looked, and such a head learns nothing from the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CATEGORIES = ("violence_injury", "illicit", "hate_harassment", "self_harm")
MINED = "mined/"
"""How the source of a row begins that was picked for its scores: it may teach, but must not judge."""
SPLITS = ("fit", "shape", "certify", "benign_check", "unlabelled")
HARMFUL_FROM = 0.5
BENIGN_TO = 0.2

Labels = Mapping[str, float | None]


def labels(
    violence_injury: float | None = None,
    illicit: float | None = None,
    hate_harassment: float | None = None,
    self_harm: float | None = None,
) -> Labels:
    return dict(zip(CATEGORIES, (violence_injury, illicit, hate_harassment, self_harm), strict=True))


BENIGN: Labels = labels(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    id: str
    source: str
    completion: str
    labels: Labels
    prompt: str = ""
    severity: int | None = None
    clarity: str = "clear"
    label_source: str
    weight: float = 1.0
    # Rows that share any of these belong to one cluster: work, question, lexical unit, context, pair, near-duplicate.
    keys: tuple[str, ...] = field(default=(), repr=False)
    cluster: str = ""
    split: str = ""

    @property
    def mined(self) -> bool:
        return self.source.startswith(MINED)

    @property
    def harmful_in(self) -> tuple[str, ...]:
        return tuple(name for name in CATEGORIES if (self.labels[name] or 0.0) > HARMFUL_FROM)

    @property
    def label_vector(self) -> tuple[float | None, ...]:
        return tuple(self.labels[name] for name in CATEGORIES)


def hash_unit(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: the same on every machine and in every run."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(cluster: str) -> str:
    position = hash_unit(f"split:{cluster}")
    return "fit" if position < 0.70 else "shape" if position < 0.85 else "certify"


def in_split(rows: Iterable[Row], split: str) -> list[Row]:
    return [row for row in rows if row.split == split]
