"""Members that run on Triton servers. Several servers share the calls, and one that is lost is replaced by the others.

Every one of them has to pass the check that `connect` is given before it is asked, and again whenever it was out of sight.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Check, Reading, ScoreError, Window
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.gate import Distances
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.backends.triton_channel import read_secrets
from interlock_server.backends.triton_endpoint import TritonEndpoint
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

SIZE_MAX = 64
SPREAD_MAX = 1.5


class TritonBackend:
    """A classifier as of OnnxBackend, also with a gate, called `runs.remote_model` on each of the servers in the settings.

    Raises BackendError when no server is configured or a file cannot be loaded; nothing is connected before `connect`.
    """

    provider = "triton"
    lane = "remote"

    def __init__(self, member: MemberManifest, files: Mapping[str, Path], settings: TritonSettings) -> None:
        if not settings.endpoints:
            raise BackendError(f"member {member.name}: triton.endpoints is empty")
        self.batching = BatchRule(SIZE_MAX, member.runs.batch_tokens_max, SPREAD_MAX)
        self.slots = settings.slots
        self._member, self._settings = member, settings
        self._tokens = load_tokens(files["tokenizer"], member.name)
        self._distances = Distances(files["gate"], member.name) if "gate" in files else None
        self._secrets = read_secrets(settings.tls)
        self._endpoints: list[TritonEndpoint] = []
        self._caretaker: asyncio.Task[None] | None = None
        self._turn = count()

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._member.reads, self._tokens)

    @property
    def complaints(self) -> Mapping[str, str]:
        """Endpoints that are not asked at the moment, and why."""
        return {endpoint.address: endpoint.complaint for endpoint in self._endpoints if not endpoint.usable()}

    async def connect(self, check: Check) -> None:
        """Looks at the model on every server; one that passes is enough, and the others are looked at again and again."""
        if not self._endpoints:
            self._endpoints = [
                TritonEndpoint(address, self._member, self._distances, self._settings, self._secrets)
                for address in self._settings.endpoints
            ]
        looks = [self._look(endpoint, check) for endpoint in self._endpoints]
        errors = [error for error in await asyncio.gather(*looks, return_exceptions=True) if error is not None]
        for error in errors:
            if not isinstance(error, BackendError):
                raise error
        if len(errors) == len(self._endpoints):
            raise BackendError(f"member {self._member.name}: {'; '.join(map(str, errors))}")
        if self._caretaker is None:
            self._caretaker = asyncio.create_task(self._take_care(check))

    async def score(self, windows: Sequence[Window], deadline_s: float) -> NDArray[np.float64]:
        """One call to the server whose turn it is; to the next one if that server turns out to be lost."""
        failure = ScoreError("FAILED", lost=True)
        for endpoint in self._turns():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise ScoreError("TIMED_OUT")
            if not endpoint.usable() or endpoint.model is None:  # lost while another one was asked
                continue
            try:
                return await endpoint.ask(endpoint.model, windows, left_s)
            except ScoreError as error:
                if (error.cause, error.lost) != ("FAILED", True):
                    raise
                failure = error
        raise failure

    async def close(self) -> None:
        """Hangs up. May be called twice."""
        caretaker, self._caretaker = self._caretaker, None
        if caretaker is not None:
            caretaker.cancel()
            await asyncio.gather(caretaker, return_exceptions=True)
        endpoints, self._endpoints = self._endpoints, []
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))

    def _turns(self) -> list[TritonEndpoint]:
        """Whom to ask, in this order: all in turn, but those that were silent lately after the others."""
        usable = [endpoint for endpoint in self._endpoints if endpoint.usable()]
        if usable:
            turn = next(self._turn) % len(usable)
            usable = [*usable[turn:], *usable[:turn]]
        now_s = time.monotonic()
        return sorted(usable, key=lambda endpoint: max(endpoint.rests_until_s - now_s, 0.0))

    async def _look(self, endpoint: TritonEndpoint, check: Check) -> None:
        """Its model is used from now on, unless this raises."""
        await endpoint.look(check)
        sizes = [e.model.batch_max for e in self._endpoints if e.model is not None and e.model.batch_max]
        self.batching = replace(self.batching, size_max=min([SIZE_MAX, *sizes]))

    async def _take_care(self, check: Check) -> None:
        """Looks at those that are not usable, again and again: whoever passes is back."""
        while True:
            await asyncio.sleep(self._settings.rest_ms / 1000)
            now_s = time.monotonic()
            away = [e for e in self._endpoints if not e.usable() and e.look_again_s <= now_s]
            looks = [self._look(endpoint, check) for endpoint in away]
            await asyncio.gather(*looks, return_exceptions=True)  # endpoints remember why
