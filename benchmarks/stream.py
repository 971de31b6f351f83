"""What a request costs on the stream of ScreenMany and as a call of its own, over an ensemble that does next to nothing.

    .venv/bin/python benchmarks/stream.py      writes benchmarks/results/stream.json

Rounds of both are interleaved and compared by their ratio, since the machine may be busy. The server's cost is its CPU time.
"""

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration
from interlock.v1 import safety_filter_pb2 as pb
from interlock.v1 import safety_filter_pb2_grpc as pb_grpc

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from end_to_end.server import Server
from fakes import BENIGN, member

ROUNDS, CALLS, TIMEOUT_S = 8, 1_500, 10.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
Ask = Callable[[], Awaitable[pb.Verdict]]


@dataclass(frozen=True)
class Cost:
    """Of one request."""

    server_cpu_ms: float
    p50_ms: float


def main() -> None:
    """Compares both ways with one caller and with many."""
    os.environ["INTERLOCK__LOG_LEVEL"] = "info"  # at "debug", as in tests, gRPC writes a line for every call
    members, transport = [member("alpha"), member("beta")], {"connection_age_grace_s": 3_600.0}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), members=members, transport=transport)
        try:
            server.wait_ready()
            rounds = {callers: asyncio.run(compare(server, callers)) for callers in (1, 32)}
        finally:
            server.stop()
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, grpcio {grpc.__version__}",
        "callers": {str(callers): summary(pairs) for callers, pairs in rounds.items()},
    }
    path = Path(__file__).parent / "results" / "stream.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


async def compare(server: Server, callers: int) -> list[tuple[Cost, Cost]]:
    """(unary, stream) for each round."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        stub = pb_grpc.SafetyFilterServiceStub(channel)
        asker = StreamAsker(stub)
        ways: list[Ask] = [lambda: unary(stub), asker.ask]
        for ask in ways:  # to warm up
            await cost(server, ask, callers)
        pairs = [(await cost(server, ways[0], callers), await cost(server, ways[1], callers)) for _ in range(ROUNDS)]
        await asker.close()
        return pairs


async def cost(server: Server, ask: Ask, callers: int) -> Cost:
    """Of a request, when so many callers ask without a pause."""
    took_s: list[float] = []

    async def call_in_turn() -> None:
        for _ in range(CALLS // callers):
            begun_s = time.perf_counter()
            verdict = await ask()
            took_s.append(time.perf_counter() - begun_s)
            assert verdict.decision == pb.DECISION_RELEASE

    before_s = cpu_s(server.process.pid)
    await asyncio.gather(*(call_in_turn() for _ in range(callers)))
    used_s = cpu_s(server.process.pid) - before_s
    return Cost(1_000 * used_s / len(took_s), 1_000 * statistics.median(took_s))


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def exchange() -> pb.Exchange:
    """The same short text every time."""
    return pb.Exchange(completion=BENIGN.encode())


async def unary(stub: "pb_grpc.SafetyFilterServiceAsyncStub") -> pb.Verdict:
    """One call of Screen."""
    response: pb.ScreenResponse = await stub.Screen(pb.ScreenRequest(exchange=exchange()), timeout=TIMEOUT_S)
    return response.verdict


class StreamAsker:
    """The least that a caller of ScreenMany needs."""

    def __init__(self, stub: "pb_grpc.SafetyFilterServiceAsyncStub") -> None:
        self._call = stub.ScreenMany()
        self._pending: dict[int, asyncio.Future[pb.Verdict]] = {}
        self._sequence = 0
        self._outbox: asyncio.Queue[pb.ScreenManyRequest] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    async def ask(self) -> pb.Verdict:
        """One item."""
        self._sequence += 1
        sequence, batch = self._sequence, pb.ScreenBatchRequest(exchanges=[exchange()])
        answer = self._pending[sequence] = asyncio.get_running_loop().create_future()
        item = pb.ScreenManyRequest(sequence=sequence, timeout=Duration(seconds=int(TIMEOUT_S)), batch=batch)
        self._outbox.put_nowait(item)
        return await answer

    async def close(self) -> None:
        """Ends the stream."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        while (answer := await self._call.read()) is not grpc.aio.EOF:
            self._pending.pop(answer.sequence).set_result(answer.batch.verdicts[0])

    async def _write(self) -> None:
        while True:
            await self._call.write(await self._outbox.get())


def summary(pairs: list[tuple[Cost, Cost]]) -> dict[str, object]:
    """Medians, and the median and the extremes of the rounds' ratios, stream to unary."""
    ratios = {
        name: sorted(getattr(stream, name) / getattr(unary, name) for unary, stream in pairs)
        for name in ("server_cpu_ms", "p50_ms")
    }
    return {
        "unary": asdict(middle([unary for unary, _ in pairs])),
        "stream": asdict(middle([stream for _, stream in pairs])),
        "stream_to_unary": {
            name: {"median": round(statistics.median(some), 3), "from": round(some[0], 3), "to": round(some[-1], 3)}
            for name, some in ratios.items()
        },
    }


def middle(costs: list[Cost]) -> Cost:
    """The median of each."""
    return Cost(
        round(statistics.median(one.server_cpu_ms for one in costs), 4),
        round(statistics.median(one.p50_ms for one in costs), 4),
    )


if __name__ == "__main__":
    main()
