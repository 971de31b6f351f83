"""Installs and starts peers, asks each a few questions, and compares the answers with the ensemble in this process.

.venv/bin/python -m benchmarks.peers NAME...     from the repository root; all of them when none is named
"""

import json
import socket
import statistics
import sys
import time
from pathlib import Path

from .catalogue import PEERS
from .ensemble import Ensemble
from .guard import descendants
from .peer import Peer
from .probe import opened_probe
from .reference import BUNDLE

QUESTIONS = 20
DIFFERENCE_MAX = 1e-6


def main(names: list[str]) -> int:
    """Returns 0 when every peer gave the scores of the ensemble; prints one line for each."""
    if unknown := sorted(set(names) - set(PEERS)):
        print(f"there is no {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    ensemble = Ensemble()
    lines = (BUNDLE / "golden.jsonl").read_bytes().splitlines()[:QUESTIONS]
    exchanges = [(row["prompt"], row["completion"]) for row in map(json.loads, lines)]
    expected = [ensemble.score(*exchange) for exchange in exchanges]
    return 0 if all([check(PEERS[name], exchanges, expected) for name in names or PEERS]) else 1


def check(peer: Peer, exchanges: list[tuple[str, str]], expected: list[list[float]]) -> bool:
    """One peer from installation to its end; True when its scores are right."""
    peer.install()
    port = free_port()
    begun_s = time.monotonic()
    with peer.running(port) as pids, opened_probe(peer.driver, port) as ask:
        ready_s = time.monotonic() - begun_s
        took_ms, off = [], 0.0
        for exchange, scores in zip(exchanges, expected, strict=True):
            asked_s = time.perf_counter()
            answer = ask(*exchange)
            took_ms.append((time.perf_counter() - asked_s) * 1000)
            off = max(off, *(abs(a - b) for a, b in zip(answer, scores, strict=True)))
        tree = sorted({*pids, *(pid for root in pids for pid in descendants(root))})
        memory_mb = sum(map(resident_mb, tree))
    left = [pid for pid in tree if Path(f"/proc/{pid}").exists()]
    right = off <= DIFFERENCE_MAX and not left
    print(
        f"{peer.name:16} {'ok' if right else 'WRONG':6} largest difference {off:.1e}, ready in {ready_s:.1f} s, "
        f"median {statistics.median(took_ms):.1f} ms, {len(tree)} processes, {memory_mb:.0f} MB, left running {len(left)}",
        flush=True,
    )
    return right


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def resident_mb(pid: int) -> float:
    """Its share of physical memory."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("Pss:"))
