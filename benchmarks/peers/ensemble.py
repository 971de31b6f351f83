"""The work that every peer does: the default members of Interlock read and score an exchange. No decision is made here."""

from typing import cast

import numpy as np
from interlock_server.app import load, load_members
from interlock_server.backends.backend import Backend, Reading, Run
from interlock_server.config import load_config
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange
from numpy.typing import NDArray


class Ensemble:
    """All members, loaded; may be called from several threads at once, each call using the thread that calls."""

    def __init__(self) -> None:
        self._members = load_members(load(load_config(environment={})))
        self.columns = tuple(f"{member.name}.{category}" for member in self._members for category in member.categories)
        """What the scores stand for, in their order."""

    def score(self, prompt: str, completion: str) -> list[float]:
        """P(harm) per member and category, the worst window of each."""
        exchange = Exchange(prompt, completion)
        worst = [_worst(member, member.backend.read(exchange)) for member in self._members]
        return [float(score) for row in worst for score in row]


def _worst(member: Member, reading: Reading) -> NDArray[np.float64]:
    """Equal windows are scored once, and as many in one call as the backend asks for, as Interlock's lanes do it."""
    backend = cast(Backend, member.backend)  # no member of the default bundle is remote
    windows = list({window.key: window for window in reading.windows}.values())
    size = backend.batching.size_max
    calls = [backend.score(windows[first : first + size], Run()) for first in range(0, len(windows), size)]
    worst: NDArray[np.float64] = np.concatenate(calls).max(axis=0)
    return worst
