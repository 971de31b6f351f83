"""docs/performance.md and its plots from benchmarks/results: figures into tables, tables into the template. Measures nothing.

.venv/bin/python benchmarks/report.py
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import goals
import plots
from machine import RESULTS, ROOT

TEMPLATE = Path(__file__).with_name("performance_page.md")
PAGE = ROOT / "docs" / "performance.md"
COMMANDS = {
    **{name: f".venv/bin/python benchmarks/{name}.py" for name in ("growing", "audit", "replay")},
    "full": "make bench", "limits": "make bench", "peers": "make bench", "soak": ".venv/bin/python benchmarks/soak.py",
    "gpu": ".venv/bin/python benchmarks/gpu.py --bundle FOLDER --digest sha256:...",
}  # fmt: skip


def main() -> None:
    """Writes the page and the plots that there are results for."""
    results = read_results(RESULTS)
    PAGE.write_text(rendered(results))
    for name, draw in plots.PLOTS.items():
        if name in results:
            draw(results[name], PAGE.parent / "performance" / f"{name}.svg")


def read_results(folder: Path) -> dict[str, Any]:
    """Every result by its name; the quick run stands in while there is no full one."""
    found = {name: folder / f"{name}.json" for name in (*COMMANDS, "quick")}
    results = {name: json.loads(path.read_text()) for name, path in found.items() if path.is_file()}
    return {"full": results["quick"], **results} if "quick" in results else results


def rendered(results: Mapping[str, Any]) -> str:
    """The whole page."""
    sections: dict[str, tuple[str, Callable[[Any], str | list[str]]]] = {
        "machine": ("full", machine), "goals": ("full", lambda full: goals.table(full["goals"])),
        "notes": ("full", notes), "lengths": ("full", lengths), "usage": ("full", usage), "fast": ("full", fast),
        "members": ("limits", members), "echo": ("limits", echo), "peers": ("peers", peers), "soak": ("soak", soak),
        "gpu": ("gpu", gpu), "growing": ("growing", growing), "audit": ("audit", audit), "replay": ("replay", replay),
    }  # fmt: skip
    parts = {name: show(results[of]) if of in results else missing(of) for name, (of, show) in sections.items()}
    joined = {name: part if isinstance(part, str) else "\n".join(part) for name, part in parts.items()}
    return Template(TEMPLATE.read_text()).substitute(joined)


def missing(name: str) -> str:
    """What stands where a result is to come."""
    where = " on a GPU" if name == "gpu" else ""
    return f"Not yet measured{where}; `{COMMANDS[name]}` does it."


def machine(full: Mapping[str, Any]) -> str:
    """What it was measured on."""
    about = full["machine"]
    versions = ", ".join(f"{name} {about[name]}" for name in ("onnxruntime", "grpcio", "tokenizers", "uvloop"))
    return (
        f"Measured on {about['date']} on {about['cores']} cores of {about['cpu']}, Python {about['python']}, {versions}. "
        f"The generator took {spread_of(full, 'generator_cores')} cores at saturation."
    )


def notes(full: Mapping[str, Any]) -> str:
    """What the goals leave out."""
    own = {title: spread_of(full, f"goodput_at_{name}_over_saturation") for name, title in (("1_5x", 150), ("3x", 300))}
    kept = " and ".join(f"{found} at {title} %" for title, found in own.items())
    ensemble = spread_of(full, "overhead_over_ensemble_us_p50")
    over = f"Over the whole ensemble in one thread the overhead is {ensemble} us"
    return f"{over}; of its own saturated throughput the server keeps {kept}."


def usage(full: Mapping[str, Any]) -> str:
    """Tokens and memory."""
    tokens = ", ".join(f"{name} {value:g}" for name, value in full["tokens_scored_per_input_token_of"].items())
    return f"Tokens: {tokens}. Memory: {' and '.join(f'{value:g}' for value in full['memory_mb'])} MB."


def lengths(full: Mapping[str, Any]) -> list[str]:
    """Latency for one caller by length."""
    sizes = ("600B", "4KB", "16KB")
    rows = [["p50, ms", *(spread_of(full, f"p50_ms_{size}") for size in sizes)]]
    return table(["one caller", *sizes], rows)


def fast(full: Mapping[str, Any]) -> str:
    """Throughput of the small ensemble, bare, by calls and on one stream, and what a request costs the server."""
    names = {"fast_bare": "bare models", "fast": "one call for each text", "fast_stream": "one stream for all callers"}
    rates = [f"{title} {spread_of(full, f'{name}_per_s')} a second" for name, title in names.items()]
    costs = " and ".join(spread_of(full, f"{name}_server_cpu_ms") for name in ("fast", "fast_stream"))
    found = f"{', '.join(rates)}; a request costs the server {costs} ms of CPU."
    return found[0].upper() + found[1:]


def members(limits: Mapping[str, Any]) -> list[str]:
    """Latency and throughput by number of members."""
    names = [name for name in limits if name not in ("machine", "echo")]
    columns = {
        "bare_per_s": "bare models, /s", "one_caller_p50_ms": "one caller p50, ms", "one_caller_p99_ms": "p99, ms",
        "per_s_8_callers": "8 callers, /s", "per_s_16_callers": "16", "per_s_32_callers": "32",
    }  # fmt: skip
    rows = [[f"{name.replace('+', ', ')}", *(cell(limits[name][key]) for key in columns)] for name in names]
    return table(["members (mixed lengths; one caller fixed)", *columns.values()], rows)


def echo(limits: Mapping[str, Any]) -> str:
    """The floor of gRPC in a sentence."""
    found = limits["echo"]
    alone = f"{cell(found['one_caller_p50_ms'])} / {cell(found['one_caller_p99_ms'])} ms"
    return f"One caller: {alone} (p50 / p99). Many callers: {cell(found['per_s'])} a second."


def peers(result: Mapping[str, Any]) -> list[str]:
    """Every server's row, those that could not be run, and where Interlock is not ahead."""
    servers = {name: found for name, found in result["servers"].items() if name != "bare"}
    rows = [[_named(name, result), *(cell(found[c.figure]) for c in goals.COLUMNS)] for name, found in servers.items()]
    failed = [f"`{name}` did not run: {why}" for name, why in result["failed"].items()]
    behind = ", ".join(f"{peer} ({figure})" for peer, figure in goals.behind(servers)) or "nowhere"
    bare = f"Bare models: {cell(result['servers']['bare']['per_s'])} a second."
    lines = table(["server", *(column.title for column in goals.COLUMNS)], rows)
    picture = "![Verdicts in time at 150 % of capacity, by server](performance/peers.svg)"
    return [*lines, "", *failed, f"{bare} A peer is ahead of Interlock: {behind}.", "", picture]


def soak(result: Mapping[str, Any]) -> str:
    """The half hour in a few sentences, what was not flat first."""
    buckets, memory, trend = result["buckets"], result["memory_mb"], result["trend"]
    half = [row["p99_ms"] for row in buckets if row["p99_ms"] is not None]
    counts = ", ".join(f"{count} {name}" for name, count in result["outcomes"].items() if count)
    worst = f"The worst ten seconds had a p99 of {max(half):g} ms. " if half else ""
    ratios = (trend[f"{name}_last_to_first"] for name in ("p50", "p99"))
    slower = ["an unknown number of" if found is None else f"{found:g}" for found in ratios]
    flatness = "Flat" if trend["flat"] else f"Not flat: {', '.join(trend['not_flat'])}"
    rate = f"{result['rate_per_s']:g} requests a second ({result['load']:.0%} of its own saturated throughput)"
    return (
        f"{flatness}. Memory grew by {trend['memory_mb_per_hour']:g} MB an hour; p50 and p99 of the last third were "
        f"{' and '.join(slower)} times those of the first. "
        f"{rate} for {len(buckets) / 6:.0f} minutes: {counts}. {worst}"
        f"Memory went from {memory[0]:g} MB over {memory[len(memory) // 2]:g} in the middle to {memory[-1]:g} MB.\n\n"
        "![Latency and memory over time](performance/soak.svg)"
    )


def growing(result: Mapping[str, Any]) -> list[str]:
    """How soon sentences come out, and how many streams hold."""
    titles = {"alone": "one stream alone", "beside_3_callers": "beside three callers of Screen"}
    lags = [
        [title, *(f"{result['sentence'][name][key]:g}" for key in ("lag_p50_ms", "screen_p50_ms", "lag_over_screen"))]
        for name, title in titles.items()
    ]
    held = [
        [
            f"{name}, {row['streams']}", "yes" if row["holds"] else "no", f"{row['lag']['p50_ms']:g}",
            f"{row['lag']['p99_ms']:g}", f"{row['released']}", f"{row['server_cores']:g}",
        ]
        for name in ("scripted", "default") for row in result[name]
    ]  # fmt: skip
    return [
        "One run each, on made-up harmless texts of which the ensemble doubts no sentence: a doubted one waits for what comes "
        "next, for a second or more, and of texts that were not chosen so 50 streams did not hold.",
        "",
        "From the last byte that a sentence needs to its release, in turn with a `Screen` of the same text:",
        "",
        *table(["sentences of a growing text", "lag p50, ms", "Screen p50, ms", "ratio"], lags),
        "",
        f"Streams of {result['tokens_per_s']} tokens a second each, on the two cores of their generator. They hold while 99 % of "
        f"the sentences come out within {result['lag_max_s']:g} s and all texts are released:",
        "",
        *table(["ensemble, streams", "hold", "lag p50, ms", "p99, ms", "released", "cores of the server"], held),
    ]


def audit(result: Mapping[str, Any]) -> list[str]:
    """What the log costs at saturation."""
    rows = [
        [
            f"{name}, {mode.replace('_', ' ')}", f"{found['per_s']:g}",
            f"{found['over_off']:g} ({found['from']:g} to {found['to']:g})", f"{found['server_cpu_ms']:g}",
        ]
        for name in ("default", "fast") for mode, found in result[name].items()
    ]  # fmt: skip
    return table(["ensemble, audit log", "verdicts/s", "over none", "CPU of the server, ms"], rows)


def replay(result: Mapping[str, Any]) -> str:
    """Records per second and core."""
    found = result["records_per_second_and_core"].items()
    rates = ", ".join(f"{value:,} ({name})" for name, value in found)
    walls = " and ".join(f"{value:,} with {count}" for count, value in result["records_per_second_by_workers"].items())
    return (
        f"Deciding {result['records']:,} records again, per second of CPU and core: {rates}. "
        f"By the clock and the number of processes, their start included: {walls}."
    )


def gpu(result: Mapping[str, Any]) -> list[str]:
    """Bare batches and the service on a GPU."""
    rows = [[str(row[key]) for key in ("tokens", "batch", "bare_ms", "bare_per_s")] for row in result["bare"]]
    served = [
        [str(row[key]) for key in ("callers", "per_s", "p50_ms", "p99_ms", "gpu_busy")] for row in result["served"]
    ]
    return [
        f"Measured on {result['machine']['date']} on {result['gpu']}, bundle `{result['digest'][:19]}`.",
        "",
        *table(["tokens a window", "batch", "bare, ms a batch", "bare windows/s"], rows),
        "",
        *table(["callers, mixed lengths", "/s", "p50, ms", "p99, ms", "GPU busy"], served),
    ]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(titles)} |", f"|---|{'---:|' * (len(titles) - 1)}", *(f"| {' | '.join(r)} |" for r in rows)]


def cell(found: Mapping[str, Any]) -> str:
    """A median with its spread; a dash when too many requests had no verdict for the figure to exist."""
    if found.get("median") is None:
        return "-"
    median, least, greatest = (f"{float(f'{found[key]:.3g}'):g}" for key in ("median", "min", "max"))
    return f"{median} ({least} to {greatest})"


def spread_of(full: Mapping[str, Any], name: str) -> str:
    """A figure of the full result."""
    return cell(full.get("spread", {}).get(name, {}))


def _named(name: str, result: Mapping[str, Any]) -> str:
    configuration = result["configurations"].get(name)
    return f"{name} ({configuration})" if configuration else f"**{name}**" if name == "interlock" else name


if __name__ == "__main__":
    main()
