"""What the service adds to its models: one caller, the default ensemble, 600 bytes of prose. Run it on an idle machine.

    .venv/bin/python benchmarks/overhead.py      writes benchmarks/results/overhead.json

The bare models score the same windows, already cut and tokenised, one after the other in one thread, and the encoder
alone, which is the longest path when members run side by side. Views, windows, tokenising, queueing, deciding, gRPC
and the client all count as overhead. Figures of one run are compared with each other only.
"""

import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from interlock_client import SafetyFilter
from interlock_server.app import load, load_members
from interlock_server.backends.backend import Run
from interlock_server.config import load_config
from interlock_server.inference.scoring import Member
from interlock_server.text.exchange import Exchange

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from demo import running_server

PROMPT = "Tell me about a quiet morning in the mountains."
SENTENCES = (
    "The hut stood a little above the trees, and the first light came over the ridge at half past six. "
    "Marta put the kettle on, opened the shutters and counted the goats, as she did every day. "
    "Two hikers had left their boots by the door and were still asleep under three blankets each. "
    "She cut the bread, set out butter and honey, and wrote the weather on the slate by the stairs. "
    "Far below, the bus crept along the lake like a beetle, and a bell rang in the village. "
    "By eight the fog had gone, the dog was fed, and the path to the pass lay dry in the sun. "
    "She hummed."
)
COMPLETION = (SENTENCES + " " * 600)[:600].rstrip()
WARM_UP, CALLS, REPETITIONS = 50, 300, 3


def main() -> None:
    """Interleaves bare and served runs, and writes medians and their spread over the repetitions."""
    members = load_members(load(load_config()))
    rounds = []
    with running_server() as address, SafetyFilter(targets=address, timeout_s=10.0) as safety_filter:
        stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
        for _ in range(REPETITIONS):
            ensemble_ms = bare_ms(members)
            encoder_ms = bare_ms([member for member in members if member.name == "encoder"])
            served_ms = median_ms(lambda: safety_filter.screen(prompt=PROMPT, completion=COMPLETION))
            floor_ms = rpc_floor_ms(stub, pause_s=encoder_ms / 1000)
            figures = (served_ms, ensemble_ms, encoder_ms, floor_ms)
            rounds.append(dict(zip(("served", "bare_ensemble", "bare_encoder", "rpc_floor"), figures, strict=True)))
    over_ensemble = [row["served"] - row["bare_ensemble"] for row in rounds]
    over_encoder = [row["served"] - row["bare_encoder"] for row in rounds]
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "bytes": len(COMPLETION.encode()),
        "rounds_ms": rounds,
        "overhead_over_ensemble_ms_p50": statistics.median(over_ensemble),
        "overhead_over_encoder_ms_p50": statistics.median(over_encoder),
        "rpc_floor_ms_p50": statistics.median(row["rpc_floor"] for row in rounds),
    }
    path = Path(__file__).parent / "results" / "overhead.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


def bare_ms(members: list[Member]) -> float:
    """Median time of the models alone."""
    work = [(member.backend, member.backend.read(Exchange(PROMPT, COMPLETION)).windows) for member in members]

    def score() -> None:
        for backend, windows in work:
            for window in windows:
                backend.score([window], Run())

    return median_ms(score)


def rpc_floor_ms(stub: health_pb2_grpc.HealthStub, pause_s: float) -> float:
    """A health check after a pause as long as the model's run: what gRPC and waking idle threads cost on this machine."""
    took = []
    for _ in range(CALLS):
        time.sleep(pause_s)
        begun = time.perf_counter()
        stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1000


def median_ms(call: object) -> float:
    """Median of the calls after a warm-up."""
    assert callable(call)
    took = []
    for _ in range(WARM_UP + CALLS):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return statistics.median(took[WARM_UP:]) * 1000


if __name__ == "__main__":
    main()
