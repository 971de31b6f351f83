"""What a fault happens in: servers, what they need, and what stands between them and their callers. Kinds share a world."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.judging import Asked
from faults.models import QUEUE_MAX, Triton, write_with_triton
from faults.proxy import ChaosProxy
from faults.replica import Replica, Setup
from faults.traffic import Loop


@dataclass
class World:
    """Servers that are ready. `replicas[0]` is the one that the fault befalls."""

    folder: Path
    loop: Loop
    """Where callers run."""
    replicas: list[Replica]
    proxy: ChaosProxy | None = None
    triton: Triton | None = None
    seconds: float = 0.0
    """How long the fault will be there."""
    notes: list[str] = field(default_factory=list)
    """What else is worth a word in the table."""
    extra: list[Asked] = field(default_factory=list)
    """Requests of callers that a fault has brought along."""

    @property
    def server(self) -> Replica:
        """The one that the fault befalls."""
        return self.replicas[0]

    @property
    def between(self) -> ChaosProxy:
        """The network."""
        assert self.proxy is not None
        return self.proxy

    @property
    def models(self) -> Triton:
        """The Triton server."""
        assert self.triton is not None
        return self.triton

    @property
    def targets(self) -> list[str]:
        """Where callers find it."""
        return [self.proxy.target] if self.proxy else [replica.target for replica in self.replicas]

    def close(self) -> None:
        """Ends everything."""
        if self.proxy:
            self.proxy.close()
        for replica in self.replicas:
            replica.close()
        if self.triton:
            self.triton.close()


TRITON = {"rest_ms": 200, "connect_timeout_ms": 1_000, "keepalive_timeout_ms": 1_000}
SETUPS: Mapping[str, Setup] = {
    "plain": Setup(),
    "few_lanes_lost": Setup(inference={"lanes_lost_max": 2}, transport={"drain_seconds": 0.5}),
    "audited": Setup(audit={"mode": "required", "segment_age_s": 1.0}, switched=True),
    "triton": Setup(triton=TRITON),
    # Apart, since Triton 2.51 with a limit on its queue forgets the queue for half a second at times.
    "triton_queued": Setup(triton=TRITON),
    "clock": Setup(audit={"mode": "required"}, policy={"certificate": "require"}, switched=True, certified=True),
    "cached": Setup(inference={"cache_entries_max": 10_000}),
    "narrow": Setup(inference={"queue_size_max": 128}),
    "switched": Setup(switched=True),
    "proxied": Setup(),
    "pair": Setup(transport={"drain_seconds": 2.0}),
}
REPLICAS: Mapping[str, int] = {"pair": 2}


class Worlds(AbstractContextManager["Worlds"]):
    """Keeps one world; another one replaces it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stack = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
        self._name = ""
        self._world: World | None = None
        self._numbers = iter(range(10_000))

    def world(self, name: str) -> World:
        """The running one if it has that name, else a new one."""
        if self._world is None or self._name != name:
            self.drop()
            self._name, self._world = name, self._make(name)
        self._world.notes.clear()
        self._world.extra.clear()
        return self._world

    def drop(self) -> None:
        """The next one is to be new: this one did not recover."""
        if self._world:
            self._world.close()
        self._world = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.drop()
        self._stack.cleanup()

    def _make(self, name: str) -> World:
        setup, folder = SETUPS[name], Path(self._stack.name) / f"{name}_{next(self._numbers)}"
        folder.mkdir()
        world = World(folder, self._loop, [])
        try:
            if setup.triton:
                world.triton = Triton(folder / "triton", QUEUE_MAX if name == "triton_queued" else None)
                setup = Setup(triton={**setup.triton, "endpoints": [world.triton.endpoint]})
            for number in range(REPLICAS.get(name, 1)):
                world.replicas.append(_replica(folder / f"replica_{number}", setup, world.triton is not None))
            for replica in world.replicas:
                replica.wait_ready()
            if name == "proxied":
                world.proxy = ChaosProxy(self._loop, world.server.target)
        except BaseException:
            world.close()
            raise
        return world


def _replica(folder: Path, setup: Setup, with_triton: bool) -> Replica:
    folder.mkdir()
    write: Callable[[Path, Setup], str] | None = write_with_triton if with_triton else None
    return Replica(folder, setup, write).start()
