"""Completions that are screened while they are being written: how soon a sentence comes out, and how many streams hold.

    .venv/bin/python benchmarks/growing.py [--seconds 30]      writes benchmarks/results/growing.json

The lag of a sentence counts from the sending of the byte with which the policy could let it out (the first of the sentence
after the hold-back) to the answer that does. It is compared with one Screen of the same text, in turn, at the same load.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop
import yaml
from figures import latencies, rounded
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.text.windows import split_sentences
from machine import RESULTS, cpu_s, described
from servers import Bundle, Running, running_interlock
from texts import corpus

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes import member, write_bundle

TOKENS_PER_S, TOKEN_BYTES = 20, 4
LAG_MAX_S = 0.5
"""A number of streams holds when 99 % of the sentences come out within that, and every stream is released in the end."""
TIMEOUT_S = 300.0
HOLD_BACK = 256
Stub = Any


class Text:
    """A completion of about `size` bytes, and when each of its sentences may come out."""

    def __init__(self, completion: str, hold_back: int) -> None:
        self.completion = completion.encode()
        self.ends = [len(completion[:end].encode()) for _, end in split_sentences(completion)]
        """Ends of sentences, the last one being that of the text."""
        triggers = ((end, next((e for e in self.ends[:-1] if e >= end + hold_back), None)) for end in self.ends[:-1])
        self.triggers = {end: trigger + 1 for end, trigger in triggers if trigger is not None}
        """End of a sentence -> how many bytes have to be sent before it can come out, but for the end of the text."""


def main() -> None:
    """Measures and writes."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=30.0, help="how long each number of streams is tried")
    seconds = arguments.parse_args().seconds
    path = RESULTS / "growing.json"
    result: dict[str, Any] = {"machine": described(), "lag_max_s": LAG_MAX_S, "tokens_per_s": TOKENS_PER_S}
    with tempfile.TemporaryDirectory() as folder:
        no_hold_back = Path(folder) / "no-hold-back.yaml"
        content = yaml.safe_load((DEFAULT_BUNDLE / "policy.yaml").read_text())
        no_hold_back.write_text(yaml.safe_dump({**content, "streaming": {"hold_back_bytes": 0}}))
        bundle = Path(folder) / "scripted"
        scripted = Bundle(str(bundle), write_bundle(bundle, [member(name) for name in ("alpha", "beta", "gamma")]))
        with running_interlock(policy=str(no_hold_back)) as server:
            result["sentence"] = uvloop.run(sentences(server))
        with running_interlock(scripted) as server:
            result["scripted"] = uvloop.run(held(server, (200,), seconds))
        with running_interlock() as server:
            result["default"] = uvloop.run(held(server, (25, 50, 75, 100, 125, 150, 200), seconds))
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


async def sentences(server: Running) -> dict[str, Any]:
    """One stream beside nothing, and beside callers of Screen; each sentence is followed by a Screen of all there is."""
    texts = await released_texts(server, 12, 900, 0)
    async with connected(server) as stub:
        alone = [pair for text in texts for pair in await lags(stub, text)]
        async with callers(stub, 3):
            beside = [pair for text in texts for pair in await lags(stub, text)]
    return {"alone": compared(alone), "beside_3_callers": compared(beside)}


def compared(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Lags of sentences, times of Screen, and the ratio of the medians."""
    lag, screen = (statistics.median(column) for column in zip(*pairs, strict=True))
    p90 = [statistics.quantiles(column, n=10)[8] for column in zip(*pairs, strict=True)]
    return {
        "sentences": len(pairs),
        "lag_p50_ms": rounded(lag * 1000),
        "screen_p50_ms": rounded(screen * 1000),
        "lag_p90_ms": rounded(p90[0] * 1000),
        "screen_p90_ms": rounded(p90[1] * 1000),
        "lag_over_screen": rounded(lag / screen),
    }


async def lags(stub: Stub, text: Text) -> list[tuple[float, float]]:
    """(lag, time of Screen) for every sentence but the last, of a server that holds nothing back."""
    call = stub.ScreenStream(timeout=TIMEOUT_S)
    await call.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
    found, sent = [], 0
    for end in text.ends[:-1]:
        chunk = text.completion[sent : end + 1]
        begun_s = time.perf_counter()
        await call.write(pb.ScreenStreamRequest(chunk=chunk))
        sent = end + 1
        answer = await call.read()
        lag_s = time.perf_counter() - begun_s
        if answer is grpc.aio.EOF or answer.HasField("verdict"):
            break
        begun_s = time.perf_counter()
        await screen(stub, text.completion[:end])
        found.append((lag_s, time.perf_counter() - begun_s))
    call.cancel()
    return found


async def held(server: Running, counts: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Each number of streams, until one does not hold."""
    tried = []
    texts = await released_texts(server, 60, int(seconds * TOKENS_PER_S * TOKEN_BYTES), HOLD_BACK)
    for count in counts:
        async with connected(server) as stub:
            before_s, begun_s = cpu_s(server.pids), time.monotonic()
            streams = [Writing(stub, texts[place % len(texts)]) for place in range(count)]
            await asyncio.gather(*(stream.run() for stream in streams))
            used = (cpu_s(server.pids) - before_s) / (time.monotonic() - begun_s)
        lag_s = [lag for stream in streams for lag in stream.lags()]
        released = sum(stream.released for stream in streams)
        latency = latencies([lag * 1000 for lag in lag_s])
        holds = latency["p99_ms"] <= LAG_MAX_S * 1000 and released == count
        behind = latencies([slip * 1000 for stream in streams for slip in stream.slips])
        tried.append(
            {
                "streams": count, "holds": holds, "released": released, "sentences": len(lag_s), "lag": latency,
                "server_cores": rounded(used), "generator_behind_p99_ms": behind["p99_ms"],
            }
        )  # fmt: skip
        print(json.dumps(tried[-1]), file=sys.stderr)
        if not holds:
            break
    return tried


class Writing:
    """A generator that writes one token after the other, and looks at what comes out."""

    def __init__(self, stub: Stub, text: Text) -> None:
        self._stub = stub
        self._text = text
        self._sent_s: list[tuple[int, float]] = []
        self._shown_s: list[tuple[int, float]] = []
        self.slips: list[float] = []
        self.released = False

    async def run(self) -> None:
        """Until the last verdict."""
        await asyncio.sleep(random.random() * 1.0)
        call = self._stub.ScreenStream(timeout=TIMEOUT_S)
        await call.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
        reading = asyncio.create_task(self._read(call))
        begun_s, text = time.perf_counter(), self._text.completion
        for number, start in enumerate(range(0, len(text), TOKEN_BYTES)):
            due_s = begun_s + number / TOKENS_PER_S
            await asyncio.sleep(max(due_s - time.perf_counter(), 0))
            if reading.done():
                return
            self.slips.append(time.perf_counter() - due_s)
            self._sent_s.append((start + TOKEN_BYTES, time.perf_counter()))
            await call.write(pb.ScreenStreamRequest(chunk=text[start : start + TOKEN_BYTES]))
        await call.write(pb.ScreenStreamRequest(end=pb.ScreenStreamEnd()))
        await reading

    async def _read(self, call: Any) -> None:
        while (answer := await call.read()) is not grpc.aio.EOF:
            self._shown_s.append((answer.released_bytes, time.perf_counter()))
            self.released = answer.verdict.decision == pb.DECISION_RELEASE

    def lags(self) -> list[float]:
        """Of every sentence that came out before the end."""
        found = []
        for end, trigger in self._text.triggers.items():
            sent_s = next((at_s for size, at_s in self._sent_s if size >= trigger), None)
            shown_s = next((at_s for size, at_s in self._shown_s if size >= end), None)
            if sent_s is not None and shown_s is not None:
                found.append(shown_s - sent_s)
        return found


async def released_texts(server: Running, count: int, size: int, hold_back: int) -> list[Text]:
    """Made-up harmless texts of which every sentence comes out as soon as it may: what is doubted is not about speed."""
    pieces = [text.completion for text in corpus("mixed", 40 * count, "growing")]
    found: list[Text] = []
    async with connected(server) as stub:
        for start in range(0, len(pieces), 10):
            text = Text(" ".join(pieces[start : start + 10 * max(1, size // 2500)])[:size], hold_back)
            if await undoubted(stub, text):
                found.append(text)
            if len(found) == count:
                break
    if not found:
        raise SystemExit("the server releases none of the texts")
    return found


async def undoubted(stub: Stub, text: Text) -> bool:
    """Whether a stream that waits after every sentence gets each one as soon as the policy allows, and all in the end."""
    call = stub.ScreenStream(timeout=TIMEOUT_S)
    await call.write(pb.ScreenStreamRequest(start=pb.ScreenStreamStart()))
    sent = 0
    for trigger in [*sorted(set(text.triggers.values())), None]:
        await call.write(pb.ScreenStreamRequest(chunk=text.completion[sent:trigger]))
        if trigger is None:
            await call.write(pb.ScreenStreamRequest(end=pb.ScreenStreamEnd()))
        sent = trigger or sent
        try:
            answer = await asyncio.wait_for(call.read(), 1.0)
        except TimeoutError:
            return False
        if answer is grpc.aio.EOF or answer.verdict.decision == pb.DECISION_WITHHOLD:
            return False
    return bool(answer.verdict.decision == pb.DECISION_RELEASE)


async def screen(stub: Stub, completion: bytes) -> pb.Verdict:
    """One Screen."""
    response = await stub.Screen(pb.ScreenRequest(exchange=pb.Exchange(completion=completion)), timeout=TIMEOUT_S)
    return response.verdict  # type: ignore[no-any-return]


@asynccontextmanager
async def connected(server: Running) -> AsyncIterator[Stub]:
    """A stub."""
    async with grpc.aio.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield pb_grpc.SafetyFilterServiceStub(channel)


@asynccontextmanager
async def callers(stub: Stub, count: int) -> AsyncIterator[None]:
    """So many callers of Screen, with a short pause between two calls of each."""
    texts = [text.completion.encode() for text in corpus("mixed", 2000, "beside")]

    async def ask(mine: Sequence[bytes]) -> None:
        for text in mine:
            await screen(stub, text)
            await asyncio.sleep(random.expovariate(1 / 0.02))

    tasks = [asyncio.create_task(ask(texts[place::count])) for place in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
