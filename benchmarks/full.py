"""`make bench`: everything, with the peers, in about an hour and a half. Run it on an idle machine.

    .venv/bin/python benchmarks/full.py [--peers NAME,...] [--parts NAME,...] [--short]     writes benchmarks/results/*.json

Servers take turns within each repetition, one running at a time, so that the weather of the machine is shared by all.
A peer that cannot be installed or started is in the result with the reason.
"""

import argparse
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import load
import quick
from figures import capacity_per_s, ratio, spread
from machine import CORES, RESULTS, described
from peers import PEERS, Peer, PeerError
from scenarios import LOAD, OVERLOADS, Plan, Target, abandoned, at_load, bare_models, one_caller, overload, saturation
from servers import bundle_of, running_echo, running_interlock

REPETITIONS = 3
SHORT = Plan(alone=120, one_caller_s=2, saturation_s=4, callers=32, at_load_s=6, overload_s=4)
LONG = Plan(alone=300, one_caller_s=10, saturation_s=20, callers=32, at_load_s=40, overload_s=15)
CALLERS = (8, 16, 32)
ENSEMBLES = (("ngrams",), ("sentences", "ngrams"), ("encoder", "sentences", "ngrams"))


def main() -> int:
    """Measures and writes the limits, the service and the peers."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--peers", default=",".join(PEERS), help="which, separated by commas; none if empty")
    arguments.add_argument("--smoke", action="store_true", help="durations too short to mean anything")
    arguments.add_argument("--short", action="store_true", help="a fifth of the durations; the spread tells the price")
    arguments.add_argument("--parts", default="limits,full,peers", help="which files to write")
    arguments.add_argument("--output", type=Path, default=RESULTS)
    asked = arguments.parse_args()
    plan, repetitions = (quick.SMOKE, 1) if asked.smoke else (SHORT if asked.short else LONG, REPETITIONS)
    peers = [PEERS[name] for name in asked.peers.split(",") if name]
    asked.output.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "limits": lambda: limits(plan, repetitions),
        "full": lambda: quick.measured(plan, repetitions),
        "peers": lambda: compared(peers, plan, repetitions),
    }
    for name, measure in ((name, parts[name]) for name in asked.parts.split(",")):
        (asked.output / f"{name}.json").write_text(json.dumps(measure(), indent=1) + "\n")
        print(f"{name}.json", flush=True)
    return 0


def limits(plan: Plan, repetitions: int) -> dict[str, Any]:
    """The floor of gRPC, and what members and callers cost."""
    machine = described()
    echoes = [echo(plan) for _ in range(repetitions)]
    ensembles = {"+".join(names): [ensemble(names, plan, turn) for turn in range(repetitions)] for names in ENSEMBLES}
    rows = {"echo": echoes, **ensembles}
    return {"machine": machine, **{name: medians(found) for name, found in rows.items()}}


def echo(plan: Plan) -> dict[str, Any]:
    """One caller and many, of a server that only echoes."""
    with running_echo() as server:
        tasks = [
            load.Task(server.address, "echo", texts="fixed", seconds=plan.one_caller_s, callers=callers)
            for callers in (1, 32)
        ]
        alone, many = map(load.generate, tasks)
    return {**_prefixed("one_caller", alone["latency"]), "per_s": many["verdicts_per_s"]}


def ensemble(names: tuple[str, ...], plan: Plan, turn: int) -> dict[str, Any]:
    """Latency and throughput over these members, bare and served."""
    with bundle_of(names) as bundle:
        bare = bare_models(plan, bundle_path=bundle.path, bundle_digest=bundle.digest)
        with running_interlock(bundle) as server:
            target = Target(server.address, server.pids)
            alone = one_caller(target, f"members/{turn}", plan.one_caller_s)
            many = {n: saturation(target, f"members/{turn}/{n}", plan.saturation_s, n)["per_s"] for n in CALLERS}
    found = {f"per_s_{callers}_callers": per_s for callers, per_s in many.items()}
    return {"bare_per_s": bare["per_s"], **_prefixed("one_caller", alone), **found}


def compared(peers: list[Peer], plan: Plan, repetitions: int) -> dict[str, Any]:
    """Interlock and the peers in turn, after the bare models of the same repetition."""
    failed: dict[str, str] = {}
    for peer in peers:
        try:
            peer.install()
        except PeerError as error:
            failed[peer.name] = str(error).splitlines()[0]
    rounds: dict[str, list[dict[str, Any]]] = {}
    machine = described()
    for turn in range(repetitions):
        bare = bare_models(plan)
        rounds.setdefault("bare", []).append({"per_s": bare["per_s"]})
        for name in ("interlock", *(peer.name for peer in peers if peer.name not in failed)):
            try:
                with _target(name) as target:
                    rounds.setdefault(name, []).append(columns(target, plan, turn, bare["per_s"]))
            except PeerError as error:
                failed[name] = str(error).splitlines()[0]
    configurations = {peer.name: peer.configuration for peer in peers}
    servers = {name: medians(found) for name, found in rounds.items()}
    return {"machine": machine, "servers": servers, "failed": failed, "configurations": configurations}


def columns(target: Target, plan: Plan, turn: int, bare_per_s: float) -> dict[str, Any]:
    """One server's row: 60 % is of its own capacity, 150 % is of what the bare models could do."""
    salt = f"peers/{turn}"
    alone = one_caller(target, salt, plan.one_caller_s)
    full = saturation(target, f"{salt}/full", plan.saturation_s, plan.callers)
    queue = at_load(target, f"{salt}/load", LOAD * full["per_s"], plan, turn)
    rate = OVERLOADS["1_5x"] * capacity_per_s(bare_per_s, full["generator_cores"], CORES)
    late = overload(target, f"{salt}/over", rate, plan, turn, bare_per_s)
    burst = abandoned(target, f"{salt}/burst", full["server_cpu_s_per_request"])
    return {
        **_prefixed("one_caller", alone),
        "per_s": full["per_s"],
        "per_s_over_bare": ratio(full["per_s"], capacity_per_s(bare_per_s, full["generator_cores"], CORES)),
        **_prefixed("at_60", queue["latency"]),
        "goodput_per_s": late["goodput_per_s"],
        "late_share": late["late_share"],
        "abandoned_work_share": burst["share"],
        "generator_cores": full["generator_cores"],
    }


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure with its spread over the repetitions."""
    return {key: spread(row[key] for row in rounds) for key in rounds[0]}


@contextmanager
def _target(name: str) -> Iterator[Target]:
    if name == "interlock":
        with running_interlock() as server:
            yield Target(server.address, server.pids)
        return
    port = _free_port()
    with PEERS[name].running(port) as pids:
        yield Target(f"127.0.0.1:{port}", pids, PEERS[name].driver)


def _prefixed(name: str, latency: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{share}_ms": latency[f"{share}_ms"] for share in ("p50", "p99")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
