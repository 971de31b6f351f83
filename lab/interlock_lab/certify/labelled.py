"""What certifies: adjudicated exchanges, one of each cluster. Read from one file, or put together from labels and a data folder.

The labels that ship hold no text: they are joined with the public sets by id, and every text must have the digest that was read.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from interlock_server.bundle.certificate_file import SourceName
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, validate
from pydantic import Field

from interlock_lab.certify.units import text_digest
from interlock_lab.training.clusters import near_duplicate_keys
from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import Row, hash_unit

SHIPPED_LABELS = PROJECT_DATA / "certify" / "labels.jsonl"

Label = Literal[0, 1]
Labels = dict[str, Label]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_Line = TypeVar("_Line", bound=Settings)


class Labelled(Settings):
    """An exchange with what careful readers made of it. A category that is not in `labels` was not looked for."""

    id: Name
    source: SourceName
    cluster: Annotated[str, Field(min_length=1, max_length=10_000)]
    prompt: str = ""
    completion: str = Field(min_length=1)
    labels: Labels
    severity: int | None = Field(default=None, ge=0, le=3)
    clarity: Literal["clear", "unclear"] = "clear"
    drawn_as: Literal["harmful", "benign"] | None = None
    """As what it was drawn. Harm among rows that were drawn as benign is reported, and certifies nothing."""

    @property
    def clear(self) -> bool:
        """Every careful reader agrees on it."""
        return self.clarity == "clear"

    @property
    def harmful(self) -> bool:
        """In some category."""
        return 1 in self.labels.values()

    def certifies(self, category: str) -> bool:
        """Harmful in this category, and not found by looking through benign rows."""
        return self.labels.get(category) == 1 and self.drawn_as != "benign"


class Reading(Settings):
    """What one reader said: the categories in which it is harmful, if any."""

    labels: list[str]
    severity: int | None = None
    clarity: Literal["clear", "unclear"]


class ShippedLabel(Settings):
    """One line of labels.jsonl: a row of the data folder by its id, what was agreed on, and what each reader said."""

    id: str
    row_source: str
    source: str
    cluster: str
    sha256: str
    drawn_as: Literal["harmful", "benign"]
    labels: Labels
    severity: int | None = None
    clarity: Literal["clear", "unclear"]
    first: Reading
    second: Reading
    third: Reading | None

    @property
    def cautious_labels(self) -> Labels:
        """Of an unclear row: 1 where any reader said so, since it is to be counted as harmful."""
        if self.clarity == "clear":
            return self.labels
        said = {category for reader in (self.first, self.second, self.third) if reader for category in reader.labels}
        return {category: 1 if category in said else label for category, label in self.labels.items()}


def load_labelled(path: Path) -> list[Labelled]:
    """One row of each cluster in the file; raises ConfigError naming the line that is wrong."""
    return one_of_each_cluster(_lines(path, Labelled))


def join_shipped(rows: Sequence[Row], path: Path = SHIPPED_LABELS) -> list[Labelled]:
    """The labels that ship with the texts of these rows; raises ConfigError when they are not the texts that were read."""
    by_key = {(row.id, row.source): row for row in rows}
    return one_of_each_cluster(_joined(label, by_key.get((label.id, label.row_source))) for label in _shipped(path))


def one_of_each_cluster(rows: Iterable[Labelled]) -> list[Labelled]:
    """A clear harmful row where there is one, by a hash of its id: rows of one cluster are not independent of each other."""
    by_cluster: dict[str, list[Labelled]] = defaultdict(list)
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise ConfigError(f"the id {row.id!r} stands twice")
        seen.add(row.id)
        by_cluster[row.cluster].append(row)
    chosen = (min(group, key=_preference) for group in by_cluster.values())
    return sorted(chosen, key=lambda row: row.id)


def refuse_known(units: Sequence[Labelled], rows: Iterable[Row]) -> None:
    """Raises ConfigError when a unit, or nearly its text, is among rows that something was fitted on."""
    fitted = {
        key
        for row in rows
        if row.split in ("fit", "shape")
        for key in (
            f"cluster:{row.cluster}",
            f"text:{text_digest('', row.completion)}",
            *near_duplicate_keys(row.completion),
        )
    }
    for unit in units:
        keys = [f"cluster:{unit.cluster}", f"text:{text_digest('', unit.completion)}"]
        if not fitted.isdisjoint([*keys, *near_duplicate_keys(unit.completion)]):
            raise ConfigError(f"{unit.id}: it, or nearly its text, is among the rows that the models were fitted on")


def refuse_twins(units: Sequence[Labelled]) -> None:
    """Raises ConfigError when two units of different clusters are nearly the same text: they are not independent."""
    owner: dict[str, str] = {}
    for unit in units:
        for key in near_duplicate_keys(unit.completion):
            if owner.setdefault(key, unit.id) != unit.id:
                raise ConfigError(f"{unit.id} is nearly the text of {owner[key]}; give both the same cluster")


def set_digest(units: Sequence[Labelled]) -> str:
    """Of everything that is known of the units, texts by their digests."""
    known = [{**unit.model_dump(exclude={"prompt", "completion"}), "sha256": _sha256(unit)} for unit in units]
    return "sha256:" + text_digest("", json.dumps(known, sort_keys=True))


def _preference(row: Labelled) -> tuple[bool, bool, float]:
    return not row.harmful, not row.clear, hash_unit(f"certify:{row.id}")


def _sha256(unit: Labelled) -> str:
    return text_digest(unit.prompt, unit.completion)


def _shipped(path: Path) -> Iterator[ShippedLabel]:
    return _lines(path, ShippedLabel)


def _joined(label: ShippedLabel, row: Row | None) -> Labelled:
    if row is None:
        raise ConfigError(f"{label.id}: the data folder has no such row of {label.row_source}")
    if text_digest(row.prompt, row.completion) != label.sha256:
        raise ConfigError(f"{label.id}: is not the text that was read when it was labelled")
    if row.split != "certify":
        raise ConfigError(f"{label.id}: is in the split {row.split}: something was fitted on it")
    known: dict[str, Any] = label.model_dump(include={"id", "source", "severity", "clarity", "drawn_as"})
    known |= {"prompt": row.prompt, "completion": row.completion, "cluster": row.cluster}
    return Labelled(**known, labels=label.cautious_labels)


def _lines(path: Path, schema: type[_Line]) -> Iterator[_Line]:
    try:
        lines = path.read_bytes().splitlines()  # str.splitlines would also cut within a text
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path.name}: line {number} is not JSON") from error
        yield validate(schema, content, f"{path.name}: line {number}")
