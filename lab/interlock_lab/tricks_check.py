"""Every trick on every canary, and on ordinary benign text: none may release what is withheld, few may withhold what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interlock_server.bundle.load import Bundle

from interlock_lab.suites import scored
from interlock_lab.training.rows import Row, hash_unit
from interlock_lab.tricks import TRICKS

BENIGN_SAMPLE = {"dolly": 100, "hanna": 20}
BENIGN_CHARS_MAX = 3_000


@dataclass(frozen=True)
class TrickFigures:
    """Per trick: harmful canaries that it turns from withheld to released, and how many benign texts are withheld."""

    canaries_withheld: int
    benign: int
    benign_withheld: int
    released: dict[str, list[str]]
    benign_withheld_with: dict[str, int]


def check_tricks(bundle: Bundle, rows: Sequence[Row], canaries: Sequence[Row]) -> TrickFigures:
    """Scores each text as it is and under every trick, at the default profile."""
    harmful = [row for row in canaries if row.harmful_in]
    benign = benign_sample(rows)
    groups = [("harmful", harmful), ("benign", benign)]
    for name, trick in TRICKS.items():
        for title, texts in (("harmful", harmful), ("benign", benign)):
            groups.append((f"{title}, {name}", [replace(row, completion=trick(row.completion)) for row in texts]))
    policy = bundle.policy
    suites = scored(bundle.path, groups, "scoring tricks")
    withheld = {suite.title: suite.withheld(policy, policy.default_profile) for suite in suites}
    before = withheld["harmful"]
    released = {
        name: [
            r.id for r, was, now in zip(harmful, before, withheld[f"harmful, {name}"], strict=True) if was and not now
        ]
        for name in TRICKS
    }
    return TrickFigures(
        sum(before),
        len(benign),
        sum(withheld["benign"]),
        released,
        {name: sum(withheld[f"benign, {name}"]) for name in TRICKS},
    )


def benign_sample(rows: Sequence[Row]) -> list[Row]:
    """The same few benign texts every time."""
    found: list[Row] = []
    for source, count in BENIGN_SAMPLE.items():
        mine = [
            r
            for r in rows
            if r.split == "benign_check" and r.source == source and len(r.completion) <= BENIGN_CHARS_MAX
        ]
        found.extend(sorted(mine, key=lambda row: hash_unit(f"tricks:{row.id}"))[:count])
    return found
