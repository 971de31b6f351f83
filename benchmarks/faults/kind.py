"""A kind of fault: where it happens, what is done, and what is expected of the service."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from faults.judging import Expected
from faults.signals import Signal
from faults.traffic import Plan
from faults.world import World

Fault = Callable[[World], AbstractContextManager[None]]


@dataclass(frozen=True)
class Kind:
    """`fault` injects on entering and lifts on leaving; on entering it may note what it did in `world.notes`."""

    name: str
    does: str
    world: str
    fault: Fault
    sees: tuple[Signal, ...]
    expected: Expected = field(default_factory=Expected)
    plan: Plan = field(default_factory=Plan)
