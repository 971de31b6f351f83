"""Does a new member rank harmful text above benign text, in each category that it is said to cover? Arithmetic and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from interlock_server.errors import BundleError

from interlock_lab.scores import Floats

RESAMPLES = 2_000
TAIL = 0.025


@dataclass(frozen=True)
class Ranking:
    """The area under the ROC curve (chance that a harmful text scores above a benign one) and its 95 % interval."""

    auroc: float
    low: float
    high: float
    harmful: int
    benign: int

    def __str__(self) -> str:
        interval = f"{self.low:.2f} to {self.high:.2f}"
        return f"AUROC {self.auroc:.2f} ({interval}) over {self.harmful} harmful and {self.benign} benign examples"


def ranking(harmful: Floats, benign: Floats) -> Ranking:
    """The interval is a bootstrap over both sets, with a fixed seed: the same scores always give the same answer."""
    wins = (harmful[:, None] > benign[None, :]) + 0.5 * (harmful[:, None] == benign[None, :])
    random = np.random.default_rng(0)
    left, right = (random.multinomial(n, np.full(n, 1 / n), RESAMPLES) for n in (len(harmful), len(benign)))
    # Counts of halves are exact: rounding must not lift a constant score above one half.
    areas = ((left @ wins) * right).sum(axis=1) / wins.size
    low, high = np.quantile(areas, [TAIL, 1 - TAIL])
    return Ranking(float(wins.mean()), float(low), float(high), len(harmful), len(benign))


def refuse_meaningless(member: str, rankings: dict[str, Ranking]) -> None:
    """Raises BundleError naming every category in which the member knows nothing, or the opposite."""
    problems = [f"member {member}: {category}: {why}" for category, why in _problems(rankings)]
    if problems:
        raise BundleError("\n".join(problems))


def _problems(rankings: dict[str, Ranking]) -> list[tuple[str, str]]:
    found = []
    for category, item in rankings.items():
        if item.high < 0.5:
            found.append((category, f"ranks benign above harmful: safe and unsafe labels look swapped: {item}"))
        elif not item.low > 0.5:
            found.append((category, f"does not tell harmful from benign: {item}"))
    return found
