"""The callers: many at once, over raw gRPC and through the client library, each text with a verdict that is known.

The members of the servers know different words, so that a server which forgets one of them lets something out.
"""

import asyncio
import hashlib
import itertools
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter

from faults.judging import Asked

DEADLINE_S = 1.0
LATE_S = 0.25
"""What a busy machine may add to a deadline before it counts as missed."""
BENIGN_SHARE = 0.6
HARMS = ("He stabbed her twice.", "She poisoned the well.", "They strangled the guard.")
NOUNS = (
    "tea", "bread", "rain", "garden", "river", "letter", "window", "table", "music", "winter", "summer", "village",
    "kitchen", "orchard", "bicycle", "harbour", "library", "market", "meadow", "morning", "evening", "mountain", "paper",
    "picture", "railway", "school", "station", "teacher", "theatre", "weather", "blanket", "candle",
)  # fmt: skip
SCREEN = "/interlock.v1.SafetyFilterService/Screen"
CHANNEL = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Text:
    """What is asked, and whether a healthy server releases it."""

    completion: str
    benign: bool


@dataclass(frozen=True)
class Answer:
    """What came of it for the caller."""

    released: bool = False
    judged: bool = False
    flaw: str = ""


@dataclass(frozen=True)
class Plan:
    """Who asks how much. Callers are dealt out to the ways in turn, so there are as many of each, but for `fresh`."""

    callers: int = 48
    fresh_callers: int = 2
    """Each of their requests has a connection of its own."""
    rate_per_s: float = 800.0
    digest_guards: bool = False
    """The network may change a text; then a verdict on another one is no flaw, and its caller releases nothing."""


Ask = Callable[[Text], Awaitable[Answer]]


def texts(seed: int) -> Iterator[Text]:
    """Endlessly, hardly one of them twice; of every five as many are benign as of all, so that it holds of few too."""
    chance = random.Random(seed)
    kinds = [place < round(BENIGN_SHARE * 5) for place in range(5)]
    for place in itertools.count():
        if place % 5 == 0:
            chance.shuffle(kinds)
        benign = kinds[place % 5]
        words = " and the ".join(chance.choices(NOUNS, k=4))
        sentences = [f"They spoke of the {words}.", "It was late."]
        if not benign:
            sentences.insert(chance.randrange(3), chance.choice(HARMS))
        yield Text(" ".join(sentences), benign)


def judged(text: Text, verdict: pb.Verdict, digest_guards: bool = False) -> Answer:
    """What a careful caller of the contract makes of a verdict: it compares the digest, and releases only a RELEASE."""
    if verdict.decision != pb.DECISION_RELEASE:
        return Answer(judged=True)
    same = verdict.completion_sha256 == hashlib.sha256(text.completion.encode()).digest()
    if not same and digest_guards:
        return Answer(judged=True)
    flaws = {
        "it is harmful": not text.benign,
        "the digest is another text's": not same,
        "evidence was missing": any(member.missing for member in verdict.members) or bool(verdict.reasons),
    }
    return Answer(released=True, judged=True, flaw=next((flaw for flaw, found in flaws.items() if found), ""))


class Loop:
    """The one event loop on which everything asynchronous of the harness runs, in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="traffic", daemon=True).start()

    def start(self, task: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Runs it there."""
        return asyncio.run_coroutine_threadsafe(task, self._loop)

    def run(self, task: Coroutine[Any, Any, Result]) -> Result:
        """Runs it there, and waits for it."""
        return self.start(task).result()


class Traffic:
    """Callers of some servers. `samples` grows while they ask; `stop` before its end is read."""

    def __init__(self, loop: Loop, targets: Sequence[str], plan: Plan, seed: int) -> None:
        self.samples: list[Asked] = []
        self._targets, self._plan = list(targets), plan
        self._texts = texts(seed)
        self._over = False
        self._running = loop.start(self._run())

    def stop(self) -> None:
        """Returns when the last answer is there."""
        self._over = True
        self._running.result()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(_channel(self._targets))
            client = {"targets": self._targets, "timeout_s": DEADLINE_S, "detail": "full"}
            plain, multiplexed = (AsyncSafetyFilter(**client, multiplexed=way) for way in (False, True))  # type: ignore[arg-type]
            ways = [
                ("raw", self._raw(channel)),
                ("client", self._through(await stack.enter_async_context(plain))),
                ("raw", self._raw(channel)),
                ("stream", self._through(await stack.enter_async_context(multiplexed))),
            ]
            async with asyncio.TaskGroup() as callers:
                for place in range(self._plan.callers):
                    callers.create_task(self._call(*ways[place % len(ways)]))
                for _ in range(self._plan.fresh_callers):
                    callers.create_task(self._call("fresh", self._fresh))

    async def _call(self, way: str, ask: Ask) -> None:
        """One caller: asks, waits for the answer, and asks again when it is time."""
        pause_s = (self._plan.callers + self._plan.fresh_callers) / self._plan.rate_per_s
        due_s = time.monotonic() + pause_s * random.random()
        while not self._over:
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            text, begun_s = next(self._texts), time.monotonic()
            answer = await ask(text)
            ended_s = time.monotonic()
            in_time = ended_s - begun_s <= DEADLINE_S + LATE_S
            found = (answer.released, answer.judged, in_time, answer.flaw)
            self.samples.append(Asked(text.benign, begun_s, ended_s, *found, way))
            due_s = max(due_s + pause_s, ended_s)

    def _raw(self, channel: grpc.aio.Channel) -> Ask:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SCREEN)

        async def ask(text: Text) -> Answer:
            exchange = pb.Exchange(completion=text.completion.encode())
            request = pb.ScreenRequest(exchange=exchange, detail=pb.DETAIL_FULL)
            try:
                answer = await call(request.SerializeToString(), timeout=DEADLINE_S)
                verdict = pb.ScreenResponse.FromString(answer).verdict
            except (grpc.RpcError, DecodeError):  # silence, a refusal, or bytes that are no message
                return Answer()
            return judged(text, verdict, self._plan.digest_guards)

        return ask

    async def _fresh(self, text: Text) -> Answer:
        async with _channel(self._targets) as channel:
            return await self._raw(channel)(text)

    def _through(self, client: AsyncSafetyFilter) -> Ask:
        async def ask(text: Text) -> Answer:
            verdict = await client.screen(completion=text.completion)
            if not verdict:
                return Answer(judged=not verdict.local)
            flaw = "it is harmful" if not text.benign else "evidence was missing" if verdict.missing else ""
            return Answer(released=True, judged=True, flaw=flaw)

        return ask


def _channel(targets: Sequence[str]) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"ipv4:{','.join(targets)}", options=CHANNEL)
