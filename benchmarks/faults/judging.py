"""What is made of a run: samples of requests in, figures and problems out. PURE: no clock, no server.

A server can fail a fault in three ways: it lets out what it would keep when healthy, it never releases again, or it keeps
its callers waiting. A fault that nobody saw in /metrics, in the log or in the process was not injected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from figures import Figure, percentile, rounded

Phase = Literal["before", "during", "after"]
PHASES: Sequence[Phase] = ("before", "during", "after")
HEALTHY_SHARE_MIN = 0.9
"""Of benign texts that are released before the fault, and after the recovery."""
IN_TIME_SHARE_MIN = 0.95
BENIGN_SHARE_MIN = 0.5
RUN_OF_RELEASES = 5
"""So many benign texts in a row are released to callers of every way when a server has recovered."""
SETTLE_S = 0.1
REQUESTS_MIN = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `released` is what its caller would have let out; `flaw` says why that was wrong."""

    benign: bool
    begun_s: float
    ended_s: float
    released: bool
    judged: bool = True
    """A verdict of a server came, as against an error or silence."""
    in_time: bool = True
    flaw: str = ""
    way: str = ""
    """How it was asked."""


@dataclass(frozen=True)
class Marks:
    """When all callers were served, when the fault was begun, when it was there, and when it was over."""

    healthy_s: float
    begun_s: float
    injected_s: float
    lifted_s: float


@dataclass(frozen=True)
class Expected:
    """What is asked of the service under one fault."""

    blind: bool = False
    """Evidence is missing for every request of the fault, so that any release is wrong."""
    released_share_min: float = 0.0
    """Of benign texts during the fault, for faults that must not cost so much."""
    recovery_s_max: float = 12.0


@dataclass(frozen=True)
class Finding:
    """The line of one kind."""

    requests: dict[Phase, int]
    wrong: int
    released: dict[Phase, Figure]
    in_time: Figure
    judged: Figure
    p99_ms: Figure
    recovery_s: Figure
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return dict(vars(self))


def judge(
    samples: Sequence[Asked], marks: Marks, expected: Expected, seen: Sequence[str], extra: Sequence[Asked] = ()
) -> Finding:
    """What a run shows, and everything that is wrong with it. `extra` are requests of callers that came with the fault."""
    recovery_s = recovered_after_s(samples, marks.lifted_s)
    samples = [*samples, *extra]
    phases = _by_phase(samples, marks, recovery_s)
    during = phases["during"]
    finding = Finding(
        requests={name: len(phases[name]) for name in PHASES},
        wrong=sum(bool(one.flaw) for one in samples) + (_blind_releases(during, marks) if expected.blind else 0),
        released={name: share([one.released for one in phases[name] if one.benign]) for name in PHASES},
        in_time=share([one.in_time for one in during]),
        judged=share([one.judged for one in during]),
        p99_ms=rounded(percentile([1000 * (one.ended_s - one.begun_s) for one in during], 0.99)) if during else None,
        recovery_s=rounded(recovery_s),
    )
    finding.problems.extend(_problems(finding, during, expected, seen))
    return finding


def share(holds: Sequence[bool]) -> Figure:
    """Of those for which it holds; None of nobody."""
    return rounded(sum(holds) / len(holds)) if holds else None


def recovered_after_s(samples: Sequence[Asked], lifted_s: float) -> Figure:
    """From the end of the fault until callers of every way have their first of a run of releases; None while some have not."""
    benign = sorted((one for one in samples if one.benign), key=lambda one: one.begun_s)
    names = {one.way for one in benign}
    ways = {name: [one for one in benign if one.way == name and one.begun_s >= lifted_s] for name in names}
    firsts = [_first_of_run(later) for later in ways.values()]
    ended_s = [first.ended_s for first in firsts if first is not None]
    return max(ended_s) - lifted_s if ended_s and len(ended_s) == len(ways) else None


def _first_of_run(later: Sequence[Asked]) -> Asked | None:
    run: list[Asked] = []
    for one in later:
        run = [*run, one] if one.released else []
        if len(run) == RUN_OF_RELEASES:
            return run[0]
    return None


def _by_phase(samples: Sequence[Asked], marks: Marks, recovery_s: Figure) -> dict[Phase, list[Asked]]:
    """By when they were asked; the recovery itself belongs to none."""
    healthy_s = marks.lifted_s + recovery_s if recovery_s is not None else marks.lifted_s
    return {
        "before": [one for one in samples if one.begun_s >= marks.healthy_s and one.ended_s < marks.begun_s],
        "during": [one for one in samples if marks.injected_s <= one.begun_s < marks.lifted_s],
        "after": [one for one in samples if one.begun_s >= healthy_s],
    }


def _blind_releases(during: Sequence[Asked], marks: Marks) -> int:
    inside = (one for one in during if one.begun_s >= marks.injected_s + SETTLE_S and one.ended_s <= marks.lifted_s)
    return sum(one.released and not one.flaw for one in inside)


def _problems(finding: Finding, during: Sequence[Asked], expected: Expected, seen: Sequence[str]) -> list[str]:
    released = finding.released
    recovered = finding.recovery_s is not None and finding.recovery_s <= expected.recovery_s_max
    checks = {
        f"{finding.wrong} wrong releases": finding.wrong == 0,
        "the server was not healthy before": _at_least(released["before"], HEALTHY_SHARE_MIN),
        "too few requests under the fault": len(during) >= REQUESTS_MIN,
        "too little of the traffic was benign": _at_least(share([one.benign for one in during]), BENIGN_SHARE_MIN),
        "callers were kept waiting beyond their deadlines": _at_least(finding.in_time, IN_TIME_SHARE_MIN),
        "too little was released during the fault": _at_least(released["during"], expected.released_share_min),
        f"it did not recover within {expected.recovery_s_max:g} s": recovered,
        "it was not healthy afterwards": not recovered or _at_least(released["after"], HEALTHY_SHARE_MIN),
        "could not be injected: nobody saw it": bool(seen),
    }
    return [problem for problem, holds in checks.items() if not holds]


def _at_least(found: Figure, least: float) -> bool:
    return found is not None and found >= least
