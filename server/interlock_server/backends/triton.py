"""Members that run on Triton servers. Several servers share the calls, and one that is lost is replaced by the others.

All must have the same model: whoever gives other scores for one plain sentence is not asked. Golden exchanges have the last word.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, ScoreError, Window, logistic
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.backends.triton_endpoint import TritonEndpoint
from interlock_server.backends.triton_protocol import Model
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

SIZE_MAX = 64
SPREAD_MAX = 1.5
PROBE = "She poured two cups of tea, and then he told her all about the town."
PROBE_LOGITS_APART_MAX = 0.25
"""The same weights differ by less from machine to machine; others are further apart in one category or another."""


class Found(NamedTuple):
    """What stands behind an endpoint: its model, and the logits it gives for the probe."""

    model: Model
    logits: NDArray[np.float64]

    def like(self, other: "Found") -> bool:
        """Whether it is the same model, as far as can be told from outside."""
        same_version = self.model.version == other.model.version
        return same_version and float(np.abs(self.logits - other.logits).max()) <= PROBE_LOGITS_APART_MAX


class TritonBackend:
    """A classifier as of OnnxBackend, called `runs.remote_model` on each of the servers in the settings.

    Raises BackendError when no server is configured or the tokenizer cannot be loaded; nothing is connected before `connect`.
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
        self._probe = self.read(Exchange("", PROBE)).windows[:1]
        self._endpoints: list[TritonEndpoint] = []
        self._expected: Found | None = None
        self._caretaker: asyncio.Task[None] | None = None
        self._turn = count()

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._member.reads, self._tokens)

    @property
    def complaints(self) -> Mapping[str, str]:
        """Endpoints that are not asked at the moment, and why."""
        return {endpoint.address: endpoint.complaint for endpoint in self._endpoints if not endpoint.usable()}

    async def connect(self) -> None:
        """Looks at the model on every server; one that has it is enough, and the others are looked at again and again."""
        if not self._endpoints:
            self._endpoints = [self._endpoint(address) for address in self._settings.endpoints]
        looks = [self._look(endpoint) for endpoint in self._endpoints]
        answers = await asyncio.gather(*looks, return_exceptions=True)
        found = {e: answer for e, answer in zip(self._endpoints, answers, strict=True) if isinstance(answer, Found)}
        if not found:
            raise BackendError(f"member {self._member.name}: {'; '.join(map(_complaint, answers))}")
        if self._expected is None or not any(each.like(self._expected) for each in found.values()):
            self._expected = next(iter(found.values()))
        for endpoint, each in found.items():
            self._admit(endpoint, each)
        if self._caretaker is None:
            self._caretaker = asyncio.create_task(self._take_care())

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
                return logistic(await endpoint.ask(endpoint.model, windows, left_s))
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

    def _endpoint(self, address: str) -> TritonEndpoint:
        runs = self._member.runs
        categories = len(self._member.categories)
        return TritonEndpoint(address, runs.remote_model, runs.remote_version, categories, self._settings)

    def _turns(self) -> list[TritonEndpoint]:
        """Whom to ask, in this order: all in turn, but those that were silent lately after the others."""
        usable = [endpoint for endpoint in self._endpoints if endpoint.usable()]
        if usable:
            turn = next(self._turn) % len(usable)
            usable = [*usable[turn:], *usable[:turn]]
        now_s = time.monotonic()
        return sorted(usable, key=lambda endpoint: endpoint.rests_until_s > now_s)

    async def _look(self, endpoint: TritonEndpoint) -> Found:
        return Found(*await endpoint.look(self._probe))

    def _admit(self, endpoint: TritonEndpoint, found: Found) -> None:
        """Its model is used from now on, if it is the one that is expected."""
        if self._expected is None or not found.like(self._expected):
            endpoint.lose("its model is not that of the other servers, or not that of before")
            return
        endpoint.model = found.model
        sizes = [e.model.batch_max for e in self._endpoints if e.model is not None and e.model.batch_max]
        self.batching = replace(self.batching, size_max=min([SIZE_MAX, *sizes]))

    async def _take_care(self) -> None:
        """Looks at those that are not usable, again and again; whoever has the model that is expected is back."""
        while True:
            await asyncio.sleep(self._settings.rest_ms / 1000)
            away = [endpoint for endpoint in self._endpoints if not endpoint.usable()]
            await asyncio.gather(*map(self._look_again, away), return_exceptions=True)  # endpoints remember why

    async def _look_again(self, endpoint: TritonEndpoint) -> None:
        self._admit(endpoint, await self._look(endpoint))


def _complaint(error: object) -> str:
    """What a BackendError says; of anything else only its type, since it may quote ids."""
    return str(error) if isinstance(error, BackendError) else type(error).__name__
