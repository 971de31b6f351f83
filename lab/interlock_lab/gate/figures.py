"""What a gate does: how much it holds back of what it knows, and of what it does not know among texts that classifiers
would release. Intervals are exact, of 95 %.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from interlock_server.assurance.gate import Gate
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason
from scipy.stats import binomtest

from interlock_lab.gate.fit import Looked, ranked
from interlock_lab.scores import evidence_of
from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import hash_unit

HALVINGS = 20
SUITES = {name: PROJECT_DATA / "suites" / f"{name}.jsonl" for name in ("near", "far")}


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "none"
        found = binomtest(self.hits, self.of).proportion_ci(method="exact")
        return f"{self.hits} of {self.of}, {self.hits / self.of:.1%} ({found.low:.1%} to {found.high:.1%})"


class Spread(NamedTuple):
    """Of a share over halvings of the calibration texts."""

    mean: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.mean:.2%} ({self.least:.2%} to {self.greatest:.2%})"


@dataclass(frozen=True)
class SuiteText:
    """A text that the ensemble was not made for."""

    suite: str
    prompt: str
    completion: str


@dataclass(frozen=True)
class SuiteFigures:
    """Of one suite under one profile."""

    texts: int
    unread: int
    """Held back before any member is asked: another script, or what cannot be read."""
    withheld: int
    """By the classifiers."""
    gated: Share
    """Held back by the gate, of those that the classifiers would release."""


SuiteTable = Mapping[str, Mapping[str, SuiteFigures]]
"""Profile -> suite -> figures."""


@dataclass(frozen=True)
class GateFigures:
    """All that was measured; profile -> suite, and profile -> who -> share of texts that the gate knows."""

    alphas: Mapping[str, float]
    calibration: Mapping[str, Mapping[int, int]]
    """Check -> where a group begins -> texts in it."""
    suites: SuiteTable
    known: Mapping[str, Mapping[str, Share]]
    known_spread: Mapping[str, Spread]
    refused: Share
    """Of the calibration texts: not read, because of their script or of what they hide."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_figures(path: Path, suites: SuiteTable) -> GateFigures:
    """What `fit-gate` wrote, with the suites as they are held back now: other dials may have been set since."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return GateFigures(
        alphas=content["alphas"],
        calibration=content["calibration"],
        suites=suites,
        known={p: {who: Share(**share) for who, share in found.items()} for p, found in content["known"].items()},
        known_spread={profile: Spread(*found) for profile, found in content["known_spread"].items()},
        refused=Share(**content["refused"]),
    )


def read_suites() -> list[SuiteText]:
    """Every text, near ones first."""
    lines = (line for path in SUITES.values() for line in path.read_text(encoding="utf-8").splitlines())
    return [SuiteText(**json.loads(line)) for line in lines]


def suite_figures(bundle: Path) -> dict[str, dict[str, SuiteFigures]]:
    """Profile -> suite -> figures, through the service's own filter."""
    texts, policy = read_suites(), load_bundle(bundle).policy
    evidence = evidence_of(bundle, texts, "suites")
    by_suite: dict[str, list[Evidence]] = {}
    for text, item in zip(texts, evidence, strict=True):
        by_suite.setdefault(text.suite, []).append(item)
    return {
        name: {suite: _figures(items, policy, name) for suite, items in by_suite.items()} for name in policy.profiles
    }


def known_shares(looked: Sequence[Looked], gate: Gate, alpha: float, tolerance: float) -> dict[str, Share]:
    """Calibrated on one half of the clusters, the shares held back of the other half: of all, and by what they are."""
    counts, hits = Counter[str](), Counter[str]()
    for each, pvalue in _halved(looked, gate, 0):
        for group in ("all", "harmful" if each.row.harmful_in else "benign", _size_group(each)):
            counts[group] += 1
            hits[group] += is_held(pvalue, alpha, tolerance)
    return {group: Share(hits[group], count) for group, count in sorted(counts.items())}


def spread(looked: Sequence[Looked], gate: Gate, alpha: float, tolerance: float) -> Spread:
    """The share held back of all over many such halvings: what the promise is about."""
    shares = []
    for number in range(HALVINGS):
        pvalues = [pvalue for _, pvalue in _halved(looked, gate, number)]
        shares.append(sum(is_held(pvalue, alpha, tolerance) for pvalue in pvalues) / len(pvalues))
    return Spread(sum(shares) / HALVINGS, min(shares), max(shares))


def _halved(looked: Sequence[Looked], gate: Gate, number: int) -> list[tuple[Looked, float | None]]:
    """One half, by clusters, with its p-values by the other."""
    halves: tuple[list[Looked], list[Looked]] = ([], [])
    for each in looked:
        halves[hash_unit(f"gate-half-{number}:{each.row.cluster}") >= 0.5].append(each)
    halved = replace(gate, ranks=ranked(halves[0]))
    return [(each, halved.pvalue(each.found)) for each in halves[1]]


def is_held(pvalue: float | None, alpha: float, tolerance: float) -> bool:
    """As `decide` sees it."""
    return pvalue is None or math.log(pvalue / alpha) <= tolerance


def _size_group(each: Looked) -> str:
    windows = each.found["distance"][1]
    return {1: "1 window", 2: "2 windows"}.get(windows, "3 windows or more")


def _figures(items: Sequence[Evidence], policy: Policy, profile: str) -> SuiteFigures:
    open_policy = replace(policy, profiles={n: replace(p, ood_alpha=None) for n, p in policy.profiles.items()})
    asked = [replace(item, profile=profile) for item in items if not item.alarms]
    released = [item for item in asked if decide(item, open_policy).released]
    gated = sum(Reason.OUT_OF_DISTRIBUTION in decide(item, policy).reasons for item in released)
    return SuiteFigures(len(items), len(items) - len(asked), len(asked) - len(released), Share(gated, len(released)))
