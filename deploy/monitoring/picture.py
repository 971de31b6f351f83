"""Draws the dashboard's panels from what a Prometheus knows: `python picture.py URL FILE [--minutes 10] [--window 1m]`.

For documents, and for those without Grafana. Legends are left out where there are too many curves.
"""

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from dashboard import ROWS
from panels import Panel

matplotlib.use("agg")
import matplotlib.pyplot as plt  # which needs the line above
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

_COLUMNS, _WIDTH, _HEIGHT, _DPI = 6, 3.4, 2.0, 90
_POINTS, _LEGEND_MAX, _LABEL_MAX = 120, 6, 40
_COLORS = 64
_UNITS = {"s": "s", "bytes": "B", "Bps": "B/s", "ops": "/s", "short": ""}

Curve = tuple[str, list[float], list[float]]


def draw(url: str, file: Path, minutes: float, window: str) -> None:
    """All rows, one below the other."""
    ends_s = time.time()
    lines = [line for row in ROWS for line in _lines(row.title, row.panels)]
    figure, axes = plt.subplots(
        len(lines), _COLUMNS, figsize=(_COLUMNS * _WIDTH, len(lines) * _HEIGHT), squeeze=False, layout="constrained"
    )
    for line, (title, panels) in enumerate(lines):
        axes[line][0].set_ylabel(title, fontsize=11, fontweight="bold")
        for column, ax in enumerate(axes[line]):
            if column < len(panels):
                curves = _curves(url, panels[column], ends_s - 60 * minutes, ends_s, window)
                _draw_panel(ax, panels[column], curves)
            else:
                ax.axis("off")
    figure.savefig(file, dpi=_DPI)
    plt.close(figure)
    with Image.open(file) as image:  # a few colours are enough, and a quarter of the size
        image.convert("RGB").quantize(_COLORS).save(file, optimize=True)


def _lines(title: str, panels: Sequence[Panel]) -> list[tuple[str, Sequence[Panel]]]:
    starts = range(0, len(panels), _COLUMNS)
    return [("" if start else title, panels[start : start + _COLUMNS]) for start in starts]


def _curves(url: str, panel: Panel, begins_s: float, ends_s: float, window: str) -> list[Curve]:
    found = []
    for legend, expression in panel.curves.items():
        expanded = re.sub(r"\$job|\$instance", ".*", expression).replace("$__rate_interval", window)
        asked = {"query": expanded, "start": begins_s, "end": ends_s, "step": (ends_s - begins_s) / _POINTS}
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}") as response:
            series = json.load(response)["data"]["result"]
        for each in series:
            minutes = [(float(at) - ends_s) / 60 for at, _ in each["values"]]
            found.append((_named(legend, each["metric"]), minutes, [float(value) for _, value in each["values"]]))
    return found


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), legend)[:_LABEL_MAX]


def _draw_panel(ax: Axes, panel: Panel, curves: list[Curve]) -> None:
    ax.set_title(panel.title, fontsize=8)
    ax.tick_params(labelsize=6)
    if panel.kind == "heatmap":
        _draw_heatmap(ax, curves)
        return
    for label, minutes, values in curves:
        ax.plot(minutes, values, linewidth=0.9, label=label)
    finite = [value for _, _, values in curves for value in values if math.isfinite(value)]
    top = panel.most if panel.most is not None else max(finite, default=1.0)
    if panel.least is not None:
        ax.set_ylim(panel.least, 1.08 * top or 1.0)
    percent = panel.unit == "percentunit"
    ax.yaxis.set_major_formatter(PercentFormatter(1.0) if percent else EngFormatter(_UNITS[panel.unit], sep=""))
    ax.grid(alpha=0.2)
    if 0 < len(curves) <= _LEGEND_MAX:
        ax.legend(fontsize=5, loc="best", framealpha=0.5)


def _draw_heatmap(ax: Axes, curves: list[Curve]) -> None:
    """Buckets from below, less what is in the one below."""
    ordered = sorted(curves, key=lambda curve: float(curve[0]))
    rows: list[Any] = [values for _, _, values in ordered]
    shares = [
        [max(a - b, 0.0) for a, b in zip(row, below, strict=False)] for row, below in zip(rows[1:], rows, strict=False)
    ]
    width = min(map(len, shares), default=0)
    if width == 0:
        return
    minutes = ordered[0][1]
    ax.imshow(
        [row[:width] for row in shares],
        aspect="auto", origin="lower", cmap="Blues", extent=(minutes[0], minutes[-1], 0, len(shares)), interpolation="nearest",
    )  # fmt: skip
    ax.set_yticks(range(len(ordered)), [label for label, _, _ in ordered])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--window", default="1m", help="what rates are taken over")
    found = parser.parse_args()
    draw(found.url, found.file, found.minutes, found.window)
