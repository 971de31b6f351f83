"""`make bench-quick`: the service beside its own models, in under four minutes. Run it on an idle machine.

    .venv/bin/python benchmarks/quick.py [--check]     writes benchmarks/results/quick.json

Bare and served runs alternate; every figure is the median over the repetitions, with its spread. Figures of one run are
compared with each other only. `--check` exits with 1 when a goal is missed; `--smoke` only shows that everything runs.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import goals
from figures import capacity_per_s, ratio, rounded, spread
from machine import CORES, RESULTS, described, memory_mb
from scenarios import (
    LOAD,
    OVERLOADS,
    Plan,
    Target,
    abandoned,
    at_load,
    bare_models,
    one_caller,
    overload,
    saturation,
)  # fmt: skip
from servers import FAST_MEMBERS, Bundle, Running, bundle_of, running_interlock, samples

REPETITIONS = 3
SMOKE = Plan(
    texts=60, alone=20, one_caller_s=1.5, saturation_s=2, at_load_s=2, overload_s=2, lengths_s=(("4KB", 1), ("16KB", 2))
)
_TOKENS = "interlock_tokens_scored_per_input_token"


def main() -> int:
    """Measures, writes, prints the table of goals."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    arguments.add_argument("--smoke", action="store_true", help="durations too short to mean anything")
    arguments.add_argument("--output", type=Path, default=RESULTS / "quick.json")
    asked = arguments.parse_args()
    result = measured(SMOKE, 1) if asked.smoke else measured(Plan(), REPETITIONS)
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(goals.table(result["goals"])))
    print(f"{asked.output.name}: {result['took_s']:.0f} s, generator {result['generator_cores']} of {CORES} cores")
    return 1 if asked.check and not all(row["met"] for row in result["goals"]) else 0


def measured(plan: Plan, repetitions: int) -> dict[str, Any]:
    """All figures of both ensembles."""
    begun_s, machine = time.monotonic(), described()
    with bundle_of(FAST_MEMBERS) as fast_bundle, running_interlock() as server, running_interlock(fast_bundle) as fast:
        memory_before_mb = memory_mb(server.pids)
        rounds = [
            repetition(server, plan, number) | fast_repetition(fast, fast_bundle, plan, number)
            for number in range(repetitions)
        ]
        whole = {**tokens(server), "memory_mb": [rounded(memory_before_mb), rounded(memory_mb(server.pids))]}
    numbers = {key: spread(row[key] for row in rounds) for key in rounds[0] if key not in ("detail", "fast_detail")}
    result = {
        "machine": machine,
        **{key: value["median"] for key, value in numbers.items()},
        **whole,
        "spread": numbers,
    }
    result["goals"] = goals.judged(result)
    return {**result, "plan": vars(plan), "took_s": round(time.monotonic() - begun_s), "rounds": rounds}


def repetition(server: Running, plan: Plan, number: int) -> dict[str, Any]:
    """The default ensemble once through: bare, then served."""
    target = Target(server.address, server.pids)
    fixed = bare_models(plan, "fixed", plan.alone)
    bare = bare_models(plan)
    alone = one_caller(target, f"one/{number}", plan.one_caller_s)
    full = saturation(target, f"full/{number}", plan.saturation_s, plan.callers)
    capacity = capacity_per_s(bare["per_s"], full["generator_cores"], CORES)
    queue = at_load(target, f"load/{number}", LOAD * capacity, plan, number, bare.pop("services_s"))
    over = {
        name: overload(target, f"{name}/{number}", factor * capacity, plan, number, bare["per_s"])
        for name, factor in OVERLOADS.items()
    }
    burst = abandoned(target, f"burst/{number}", full["server_cpu_s_per_request"])
    lengths = {size: one_caller(target, f"{size}/{number}", seconds, size) for size, seconds in plan.lengths_s}
    parts = {"bare": bare, "bare_fixed": fixed, "one_caller": alone, "saturation": full, "at_60": queue}
    detail = {**parts, **over, "burst": burst, "lengths": lengths}
    return {**figures_of(detail, capacity), "detail": without_samples(detail)}


def figures_of(detail: dict[str, Any], capacity: float) -> dict[str, Any]:
    """The figures of one repetition."""
    full, queue, burst = detail["saturation"], detail["at_60"], detail["burst"]
    served_ms, fixed = detail["one_caller"]["p50_ms"], detail["bare_fixed"]["one_thread"]
    ahead = {f"goodput_at_{name}_over_capacity": detail[name]["goodput_over_capacity"] for name in OVERLOADS}
    own = {
        f"goodput_at_{name}_over_saturation": ratio(detail[name]["goodput_per_s"], full["per_s"]) for name in OVERLOADS
    }
    return {
        "bare_per_s": detail["bare"]["per_s"],
        "capacity_per_s": rounded(capacity),
        "served_per_s": full["per_s"],
        "throughput_over_bare": ratio(full["per_s"], capacity),
        "overhead_us_p50": _over_us(served_ms, fixed["encoder"]["p50_ms"]),
        "overhead_over_ensemble_us_p50": _over_us(served_ms, fixed["ensemble"]["p50_ms"]),
        "p50_at_60_over_ideal": queue["p50_over_ideal"],
        "p99_at_60_over_ideal": queue["p99_over_ideal"],
        **ahead,
        **own,
        **{f"late_share_at_{name}": detail[name]["late_share"] for name in OVERLOADS},
        **{f"refusal_ms_p50_at_{name}": detail[name]["refusal"]["p50_ms"] for name in OVERLOADS},
        "abandoned_work_share": burst["share"],
        "abandoned_work_share_after": burst["share_after"],
        "p50_ms_600B": served_ms,
        **{f"p50_ms_{size}": found["p50_ms"] for size, found in detail["lengths"].items()},
        "busy_over_alone": detail["bare"]["busy_over_alone"],
        "generator_cores": full["generator_cores"],
    }


def fast_repetition(server: Running, bundle: Bundle, plan: Plan, number: int) -> dict[str, Any]:
    """The same ratio of throughputs where the models take next to nothing: by calls, and by one stream for all callers."""
    bare = bare_models(plan, bundle_path=bundle.path, bundle_digest=bundle.digest)
    found: dict[str, Any] = {"fast_bare_per_s": bare["per_s"]}
    detail = {"bare": bare}
    for name, driver in (("fast", "interlock"), ("fast_stream", "interlock_stream")):
        target = Target(server.address, server.pids, driver)
        full = saturation(target, f"{name}/{number}", plan.saturation_s / 2, 2 * plan.callers)
        detail[name] = full
        found |= {
            f"{name}_per_s": full["per_s"],
            f"throughput_{name}_over_bare": ratio(
                full["per_s"], capacity_per_s(bare["per_s"], full["generator_cores"], CORES)
            ),
            f"{name}_generator_cores": full["generator_cores"],
            f"{name}_server_cpu_ms": rounded(full["server_cpu_s_per_request"] * 1000),
        }
    return {**found, "fast_detail": without_samples(detail)}


def tokens(server: Running) -> dict[str, Any]:
    """Tokens scored for each token of the text, from the server's own metrics: over all members, and of each."""
    sums, counts = samples(server, f"{_TOKENS}_sum"), samples(server, f"{_TOKENS}_count")
    by_member = {name: ratio(sums[name], count) for name, count in counts.items()}
    overall = ratio(sum(sums.values()), sum(counts.values()))
    return {"tokens_scored_per_input_token": overall, "tokens_scored_per_input_token_of": by_member}


def without_samples(detail: dict[str, Any]) -> dict[str, Any]:
    """The same without the lists of service times."""
    return {name: {key: part[key] for key in part if key != "services_s"} for name, part in detail.items()}


def _over_us(served_ms: float | None, bare_ms: float) -> float | None:
    return None if served_ms is None else rounded((served_ms - bare_ms) * 1000)


if __name__ == "__main__":
    sys.exit(main())
