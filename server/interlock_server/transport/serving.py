"""What the RPCs answer with: one filter and its description, and who still uses them.

Whoever began with it ends with it, also when another one has taken its place meanwhile.
"""

import asyncio

from interlock.v1 import safety_filter_pb2 as pb

from interlock_server.filter import SafetyFilter


class Serving:
    """`unused` is set while no call holds it."""

    def __init__(self, safety_filter: SafetyFilter, ensemble: pb.GetEnsembleResponse) -> None:
        self.filter = safety_filter
        self.ensemble = ensemble
        self.users = 0
        self.unused = asyncio.Event()
        self.unused.set()

    def hold(self) -> "Serving":
        """Counts the call of this task in, and out when its task ends, however it does."""
        task = asyncio.current_task()
        assert task is not None
        self.users += 1
        self.unused.clear()
        task.add_done_callback(self._let_go)
        return self

    def _let_go(self, _: object) -> None:
        self.users -= 1
        if not self.users:
            self.unused.set()
