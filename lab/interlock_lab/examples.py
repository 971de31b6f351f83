"""Labelled exchanges from outside: JSON lines with `completion`, `labels` and perhaps `prompt` and `pair`.

The format of lab/data/written. A label is 0 to 1; a category that is absent, null or in between is not known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, validate
from pydantic import ConfigDict, Field

from interlock_lab.training.rows import BENIGN_TO, HARMFUL_FROM

Truths = npt.NDArray[np.bool_]


class Example(Settings):
    """One exchange and what is known of it; `pair` joins it with others that differ from it in little."""

    model_config = ConfigDict(extra="ignore")  # written rows say more, such as their severity

    prompt: str = ""
    completion: str = Field(min_length=1)
    labels: dict[str, Annotated[float, Field(ge=0, le=1)] | None]
    pair: str | None = None

    def harmful_in(self, category: str) -> bool:
        """Known to be harmful in that way."""
        return (self.labels.get(category) or 0.0) > HARMFUL_FROM

    def benign_in(self, category: str) -> bool:
        """Known not to be harmful in that way."""
        label = self.labels.get(category)
        return label is not None and label <= BENIGN_TO

    @property
    def harmful(self) -> bool:
        """Known to be harmful in some way."""
        return any(map(self.harmful_in, self.labels))

    @property
    def benign(self) -> bool:
        """Nothing harmful is known of it, and something else is."""
        return bool(self.labels) and all(map(self.benign_in, self.labels))


def load_examples(path: Path) -> list[Example]:
    """Every line of the file; raises ConfigError naming the line that is wrong."""
    rows = []
    try:
        lines = path.read_bytes().splitlines()  # str.splitlines would also cut within a text
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
        except ValueError:
            raise ConfigError(f"{path.name}: line {number} is not JSON") from None  # the error quotes the line
        rows.append(validate(Example, content, f"{path.name}: line {number}"))
    return rows


def ordinary(rows: Sequence[Example]) -> Truths:
    """The benign rows that are nobody's look-alike: what most traffic is, and what dials are set by."""
    alarming = {row.pair for row in rows if row.pair and row.harmful}
    return np.array([row.benign and row.pair not in alarming for row in rows], dtype=bool)


def require(rows: dict[str, tuple[int, int]], least: int, source: str) -> None:
    """Raises ConfigError for the categories (-> harmful, benign) that have too few rows to say anything of."""
    few = [
        f"{source}: {category} has {harmful} harmful and {benign} benign examples; {least} of each are needed"
        for category, (harmful, benign) in rows.items()
        if min(harmful, benign) < least
    ]
    if few:
        raise ConfigError("\n".join(few))
