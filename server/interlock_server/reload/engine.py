"""The models of a bundle in memory, and what runs them. Generations that differ only in their policy share one."""

import asyncio
from dataclasses import dataclass

from interlock_server.assurance.gate import Gate
from interlock_server.bundle.load import Bundle
from interlock_server.config import Config
from interlock_server.inference.panel import Panel
from interlock_server.loading import checked_members, load_gate
from interlock_server.metrics import Metrics


@dataclass(eq=False)
class Engine:
    """Counts the generations that use it; the last one to leave closes it."""

    bundle: Bundle
    """The one that was loaded; another one may be served too."""
    panel: Panel
    gate: Gate | None
    users: int = 0

    @classmethod
    async def start(
        cls, config: Config, bundle: Bundle, metrics: Metrics, cannot_heal: asyncio.Event | None = None
    ) -> "Engine":
        """Loads every member and checks it against the golden exchanges, which warms it. Raises InterlockError."""
        members, costs = await checked_members(bundle, config.triton)
        gate = await asyncio.to_thread(load_gate, bundle)
        panel = Panel(members, bundle.policy.shadow, config.inference, metrics, cannot_heal)
        panel.start()
        for member, runs in costs.items():
            for size_bytes, took_s in runs:
                panel.learn(member, size_bytes, took_s)
        return cls(bundle, panel, gate)

    def serves(self, bundle: Bundle) -> bool:
        """Whether its models are those of a bundle, by digest and checked against the same exchanges."""
        loaded = {member.name for member in self.panel.members}
        same = (self.bundle.models_digest, self.bundle.golden) == (bundle.models_digest, bundle.golden)
        return same and loaded.issuperset(bundle.policy.members)

    def enter(self) -> "Engine":
        """Counts a generation in."""
        self.users += 1
        return self

    async def leave(self) -> bool:
        """Counts it out; True when it was the last one."""
        self.users -= 1
        if not self.users:
            await self.panel.close()
        return not self.users
