"""Runs one kind after the other: healthy, the fault, and healthy again, with callers who ask all the time."""

import time
from dataclasses import dataclass, field
from typing import Any

from faults.judging import Asked, Finding, Marks, judge, recovered_after_s
from faults.kind import Kind
from faults.signals import Watch
from faults.traffic import Loop, Traffic
from faults.world import World, Worlds

POLL_S, WARM_S_MAX = 0.05, 20.0


@dataclass(frozen=True)
class Times:
    """How long each part takes."""

    before_s: float = 1.5
    during_s: float = 10.0
    after_s: float = 1.5


QUICK = Times(0.5, 1.6, 0.4)


@dataclass(frozen=True)
class Row:
    """What came of one kind."""

    kind: Kind
    problems: list[str]
    finding: Finding | None = None
    seen: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        found = self.finding.as_dict() if self.finding else {}
        of = {"kind": self.kind.name, "does": self.kind.does}
        return {**of, **found, "problems": self.problems, "seen": self.seen, "notes": self.notes}


def run(kind: Kind, worlds: Worlds, loop: Loop, times: Times, seed: int) -> Row:
    """A row, whatever happens; a world that is not as it was is not used again."""
    try:
        row = _run(kind, worlds.world(kind.world), loop, times, seed)
    except Exception as error:  # a fault that cannot be injected is a line of the table too
        worlds.drop()
        return Row(kind, [f"could not be injected: {type(error).__name__}: {error}"[:500]])
    if row.problems:
        worlds.drop()
    return row


def _run(kind: Kind, world: World, loop: Loop, times: Times, seed: int) -> Row:
    world.seconds = times.during_s
    watch = Watch(world.server, kind.sees)
    traffic = Traffic(loop, world.targets, kind.plan, seed)
    try:
        _wait_until_served(traffic.samples, 0.0, WARM_S_MAX)
        healthy_s = time.monotonic()
        time.sleep(times.before_s)
        watch.arm()
        begun_s = time.monotonic()
        try:
            with kind.fault(world):
                injected_s = time.monotonic()
                time.sleep(times.during_s)
                lifted_s = time.monotonic()
                seen = watch.end()
        finally:
            watch.stop()
        marks = Marks(healthy_s, begun_s, injected_s, lifted_s)
        _wait_until_served(traffic.samples, lifted_s, kind.expected.recovery_s_max)
        time.sleep(times.after_s)
    finally:
        traffic.stop()
    finding = judge(traffic.samples, marks, kind.expected, seen, world.extra)
    return Row(kind, finding.problems, finding, seen, list(world.notes))


def _wait_until_served(samples: list[Asked], since_s: float, within_s: float) -> None:
    """Until callers of every way have been served again, or for as long as that may take."""
    ends_s = time.monotonic() + within_s
    while recovered_after_s(list(samples), since_s) is None and time.monotonic() < ends_s:
        time.sleep(POLL_S)
