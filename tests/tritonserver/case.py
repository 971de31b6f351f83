"""The backend contract, over a real Triton server: `triton` is a case like those in tests/backends/cases.py."""

import asyncio
import atexit
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from interlock_server.backends.backend import Reading, Run, Window
from interlock_server.backends.triton import TritonBackend
from interlock_server.text.exchange import Exchange

from .members import FILES, member, scores_as_here, settings
from .server import TritonServer, serve

if TYPE_CHECKING:
    from backends.cases import Case


def triton(folder: Path) -> "Case":
    """A sum of embeddings on a Triton server, which all cases of this process share."""
    from backends.cases import PROMPT_TOKENS_MAX, TOKENS_MAX, Case  # there they import this file

    of = member(tokens_max=TOKENS_MAX, prompt_tokens_max=PROMPT_TOKENS_MAX)
    backend = Waiting(TritonBackend(of, FILES, settings(_server().endpoint)))
    atexit.register(backend.close)
    return Case(backend, lambda window, exchange: len(window.ids) <= TOKENS_MAX)


class Waiting:
    """A remote backend for callers that wait: it has an event loop in a thread of its own."""

    lane = "cpu"

    def __init__(self, backend: TritonBackend) -> None:
        self.provider = backend.provider
        self._backend = backend
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(backend.connect(scores_as_here), self._loop).result()
        self.batching = backend.batching

    def read(self, exchange: Exchange) -> Reading:
        """As the backend does."""
        return self._backend.read(exchange)

    def score(self, windows: Sequence[Window], run: Run) -> np.ndarray:
        """As the backend does, in calls that are small enough, until the run is stopped."""
        future = asyncio.run_coroutine_threadsafe(self._score(windows), self._loop)
        run.on_stop(lambda: future.cancel())
        return future.result()

    def close(self) -> None:
        """Hangs up, and ends the loop."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._backend.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _score(self, windows: Sequence[Window]) -> np.ndarray:
        size = self.batching.size_max
        parts = [windows[place : place + size] for place in range(0, len(windows), size)]
        return np.concatenate([await self._backend.score(part, time.monotonic() + 30) for part in parts])


@cache
def _server() -> TritonServer:
    folder = tempfile.TemporaryDirectory(prefix="triton-contract-")
    running = serve(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(running.kill)
    return running
