"""The plots of docs/performance.md: small SVG files that are the same for the same results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {"svg.hashsalt": "interlock", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
)

from matplotlib import pyplot  # noqa: E402  after the backend is chosen

OWN, OTHER = "#1b6ca8", "#b0b7bf"


def peers(result: Mapping[str, Any], path: Path) -> None:
    """Verdicts in time at 150 %, beside the bare models."""
    found = {n: row["goodput_per_s"]["median"] or 0.0 for n, row in result["servers"].items() if n != "bare"}
    names = sorted(found, key=lambda name: found[name])
    figure, axes = pyplot.subplots(figsize=(6.5, 0.9 + 0.28 * len(names)))
    axes.barh(names, [found[n] for n in names], color=[OWN if n == "interlock" else OTHER for n in names])
    axes.axvline(result["servers"]["bare"]["per_s"]["median"], color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel("verdicts in time per second (dashed: bare models)")
    _save(figure, path)


def soak(result: Mapping[str, Any], path: Path) -> None:
    """Latencies of each ten seconds above, memory below."""
    minutes = [row["at_s"] / 60 for row in result["buckets"]]
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(6.5, 3.6), sharex=True)
    for name, color in (("p50_ms", OWN), ("p99_ms", OTHER)):
        values = [float("nan") if row[name] is None else row[name] for row in result["buckets"]]
        above.plot(minutes, values, color=color, label=name.partition("_")[0])
    above.set_ylabel("ms")
    above.legend(frameon=False)
    memory = result["memory_mb"]
    below.plot([place / 6 for place in range(len(memory))], memory, color=OWN)
    for axes in (above, below):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    below.set_ylabel("resident MB")
    below.set_xlabel("minutes")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


PLOTS: Mapping[str, Callable[[Mapping[str, Any], Path], None]] = {"peers": peers, "soak": soak}
