"""What is measured, one function for each question, the same for Interlock and for every peer. Each returns plain figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bare
import load
from figures import capacity_per_s, latencies, ratio, rounded
from ideal import poisson_arrivals, responses_s
from machine import CORES, cpu_s, wait_until_idle
from texts import CYCLE

DEADLINE_S = 0.1
PATIENT_S = 2.0
BURST = 200
LOAD = 0.6
OVERLOADS = {"1_5x": 1.5, "3x": 3.0}


@dataclass(frozen=True)
class Target:
    """A running server, and how to speak to it."""

    address: str
    pids: Sequence[int]
    driver: str = "interlock"


@dataclass(frozen=True)
class Plan:
    """How long each part of a repetition takes; with processes to start, one of quick's takes a minute."""

    texts: int = CYCLE
    alone: int = 120
    one_caller_s: float = 4.0
    saturation_s: float = 7.0
    callers: int = 16
    at_load_s: float = 12.0
    overload_s: float = 5.0
    lengths_s: tuple[tuple[str, float], ...] = (("4KB", 2.5), ("16KB", 4.0))


def task(target: Target, salt: str, **changes: Any) -> load.Task:
    """A task for the generator; `salt` makes its texts its own."""
    return load.Task(target.address, target.driver, salt=salt, **changes)


def one_caller(target: Target, salt: str, seconds: float, texts: str = "fixed") -> dict[str, Any]:
    """Latency for a caller who is alone."""
    done = load.generate(task(target, salt, texts=texts, text_count=1000, seconds=seconds))
    return {**done["latency"], "outcomes": done["outcomes"]}


def saturation(target: Target, salt: str, seconds: float, callers: int) -> dict[str, Any]:
    """Verdicts per second while `callers` always wait for one, and the server's CPU time for each."""
    before_s = cpu_s(target.pids)
    done = load.generate(task(target, salt, callers=callers, seconds=seconds))
    used_s = cpu_s(target.pids) - before_s
    return {
        "per_s": done["verdicts_per_s"],
        "outcomes": done["outcomes"],
        "latency": done["latency"],
        "generator_cores": done["generator_cores"],
        "server_cpu_s_per_request": rounded(used_s / done["sent"]),
    }


def at_load(
    target: Target, salt: str, rate_per_s: float, plan: Plan, seed: int, services_s: Sequence[float] = ()
) -> dict[str, Any]:
    """Latency at a rate that leaves room, beside what the ideal queue does with the same arrivals and the same texts."""
    asked = task(
        target, salt, mode="open", deadline_s=PATIENT_S, rate_per_s=rate_per_s,
        seconds=plan.at_load_s, seed=seed,
    )  # fmt: skip
    done = load.generate(asked)
    found = {"latency": done["latency"], "outcomes": done["outcomes"], "generator_cores": done["generator_cores"]}
    if not services_s:
        return found
    arrivals_s = poisson_arrivals(rate_per_s, plan.at_load_s, seed)
    responses = zip(arrivals_s, responses_s(arrivals_s, services_s, CORES), strict=True)
    ideal = latencies([took_s * 1000 for at_s, took_s in responses if at_s >= asked.warm_up_s])
    over = {f"{name}_over_ideal": ratio(done["latency"][f"{name}_ms"], ideal[f"{name}_ms"]) for name in ("p50", "p99")}
    return {**found, "ideal": ideal, **over}


def overload(target: Target, salt: str, rate_per_s: float, plan: Plan, seed: int, bare_per_s: float) -> dict[str, Any]:
    """Real verdicts in time per second at a rate that no server could keep up with, and what the others got."""
    done = load.generate(
        task(
            target, salt, mode="open", deadline_s=DEADLINE_S, rate_per_s=rate_per_s,
            seconds=plan.overload_s, seed=seed,
        )
    )  # fmt: skip
    names = ("goodput_per_s", "late_share", "outcomes", "latency", "refusal", "generator_cores")
    capacity = capacity_per_s(bare_per_s, done["generator_cores"], CORES)
    over = {"capacity_per_s": rounded(capacity), "goodput_over_capacity": ratio(done["goodput_per_s"], capacity)}
    return {"rate_per_s": rounded(rate_per_s), **{name: done[name] for name in names}, **over}


def abandoned(target: Target, salt: str, cpu_s_per_request: float) -> dict[str, Any]:
    """Work for callers who left: CPU time until idle beyond what the answered and the running ones needed.

    It is given as a share of what the whole burst would have needed. `share_after` counts only from when they left.
    """
    before_s = wait_until_idle(target.pids)
    done = load.generate(task(target, salt, mode="burst", count=BURST, server_pids=list(target.pids)))
    after_s = wait_until_idle(target.pids)
    answered = done["outcomes"].get("verdict", 0)
    running_s = CORES * cpu_s_per_request  # what a lane has begun, it ends
    burst_s = BURST * cpu_s_per_request
    extra_s = after_s - before_s - answered * cpu_s_per_request - running_s
    extra_after_s = after_s - done["server_cpu_s_at_cancel"] - running_s
    return {
        "share": rounded(max(extra_s, 0.0) / burst_s),
        "share_after": rounded(max(extra_after_s, 0.0) / burst_s),
        "outcomes": done["outcomes"],
        "server_cpu_s": rounded(after_s - before_s),
    }


def bare_models(plan: Plan, texts: str = "mixed", count: int = 0, **bundle: str) -> dict[str, Any]:
    """The models alone, now."""
    return bare.measure(
        bare.Task(texts=texts, text_count=count or plan.texts, threads=CORES, alone_count=plan.alone, **bundle)
    )
