"""Which label of a classifier means which category of harm: declared by whoever imports it, never guessed.

Sigmoid: labels are independent, and those of one category combine by their maximum. Softmax: they exclude each other,
and those of one category add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock_server.errors import ConfigError
from interlock_server.strict import read_mapping

SAFE = "safe"

Declared = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Head:
    """How outputs become categories: the columns that mean each, and how logits become probabilities."""

    activation: str
    columns: Mapping[str, tuple[int, ...]]
    size: int

    def rest(self, category: str) -> tuple[int, ...]:
        """The columns that do not mean the category."""
        return tuple(place for place in range(self.size) if place not in self.columns[category])


def read_declared(options: Sequence[str], file: Path | None) -> Declared:
    """Label -> categories, none for `safe`; from `NAME=CATEGORY,...` options and a file of the same."""
    declared = {} if file is None else {_name(key): _meaning(value) for key, value in read_mapping(file).items()}
    for option in options:
        name, found, meaning = option.rpartition("=")
        if not found:
            raise ConfigError(f"--label: {option!r} is not LABEL=CATEGORY")
        if name in declared:
            raise ConfigError(f"--label: {name!r} is declared twice")
        declared[name] = _meaning(meaning)
    return declared


def head_of(declared: Declared, labels: Sequence[str], activation: str | None, categories: Sequence[str]) -> Head:
    """The head; raises ConfigError for labels left open, unknown names, and what cannot be a probability."""
    if activation not in ("sigmoid", "softmax"):
        raise ConfigError(
            "--activation: config.json does not say it; sigmoid (several labels may hold) or softmax (one)"
        )
    places = {_place(name, labels): name for name in declared}
    if len(places) < len(declared):
        raise ConfigError("--label: a label is declared by its name and by its number")
    if left := [label for place, label in enumerate(labels) if place not in places]:
        raise ConfigError(f"--label: say what {', '.join(left)} means: categories of the bundle, or {SAFE}")
    meant = {category for meaning in declared.values() for category in meaning}
    if unknown := sorted(meant - set(categories)):
        raise ConfigError(f"--label: the bundle has no category {', '.join(unknown)}; it has {', '.join(categories)}")
    columns = {
        category: tuple(sorted(place for place, name in places.items() if category in declared[name]))
        for category in categories
        if category in meant
    }
    if not columns:
        raise ConfigError("--label: no label means a category of the bundle")
    head = Head(activation, columns, len(labels))
    if activation == "softmax" and (whole := [category for category in columns if not head.rest(category)]):
        raise ConfigError(f"--label: every label means {whole[0]}, so softmax would always be sure of it")
    return head


def _place(name: str, labels: Sequence[str]) -> int:
    if name in labels:
        return list(labels).index(name)
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise ConfigError(f"--label: the model has no label {name!r}; it has {', '.join(labels)}")


def _name(key: object) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise ConfigError("--labels: write the names of labels in quotes")  # YAML reads `No` as false
    return str(key)


def _meaning(value: object) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else str(value if value is not None else "").split(",")
    names = [str(part).strip() for part in parts]
    if names in ([], [""], [SAFE]):
        return ()
    if not all(names) or SAFE in names or len(set(names)) < len(names):
        raise ConfigError(f"--label: {value!r} is neither {SAFE} nor a list of different categories")
    return tuple(names)
