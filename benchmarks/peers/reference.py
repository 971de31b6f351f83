"""What a right answer looks like: a golden exchange of the default bundle and the scores that belong to it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .probe import ProbeError

BUNDLE = Path(__file__).parents[2] / "server" / "interlock_server" / "bundles" / "default"


@dataclass(frozen=True)
class Reference:
    """One exchange and its scores, each with how far off it may be on another machine."""

    prompt: str
    completion: str
    scores: tuple[float, ...]
    tolerances: tuple[float, ...]

    def check(self, answer: list[float]) -> None:
        """Raises ProbeError unless the answer has these scores."""
        if len(answer) != len(self.scores):
            raise ProbeError(f"{len(answer)} scores, not {len(self.scores)}")
        rows = zip(answer, self.scores, self.tolerances, strict=True)
        if not all(abs(given - right) <= tolerance for given, right, tolerance in rows):
            raise ProbeError("wrong scores")


@cache
def reference() -> Reference:
    """The first golden exchange, in the order of the manifest's members and categories."""
    members = json.loads((BUNDLE / "manifest.json").read_text())["members"]
    with (BUNDLE / "golden.jsonl").open("rb") as lines:
        golden = json.loads(next(lines))
    columns = [(member, category) for member in members for category in member["categories"]]
    return Reference(
        golden["prompt"],
        golden["completion"],
        tuple(golden["scores"][member["name"]][category] for member, category in columns),
        tuple(member["golden_tolerance"] for member, _ in columns),
    )
