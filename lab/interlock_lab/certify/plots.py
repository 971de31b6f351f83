"""The plots of a certification as PNG files: bound against price, and reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from interlock_lab.certify.figures import Figures

COLORS = ("#1b6ca8", "#c8553d", "#588157", "#8d6a9f", "#b08900", "#5f6b76", "#00798c", "#d1495b")
DPI = 110


def save_plots(figures: Figures, folder: Path) -> list[Path]:
    """All plots of these figures."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = [_trade_off(curve, folder) for curve in figures["trade_off"]]
    by_category: dict[str, list[Mapping[str, Any]]] = {}
    for item in figures["reliability"]:
        if item["bins"]:
            by_category.setdefault(item["category"], []).append(item)
    return saved + [_reliability(category, items, folder) for category, items in by_category.items()]


def _trade_off(curve: Mapping[str, Any], folder: Path) -> Path:
    """Up is safer text at a higher price; every point is one more miss allowed."""
    figure = Figure(figsize=(7.4, 3.6), layout="constrained")
    axes = figure.subplots()
    bounds = [100 * point["bound"] for point in curve["points"]]
    sources = curve["points"][0]["withheld"] if curve["points"] else {}
    for source, color in zip(sources, _colors(len(sources)), strict=True):
        withheld = [100 * point["withheld"][source] for point in curve["points"]]
        axes.plot(bounds, withheld, marker=".", color=color, label=source)
    axes.set_xlabel(f"bound on the miss rate, % (confidence {curve['confidence']:.2%})")
    axes.set_ylabel("benign text withheld, %")
    axes.set_title(f"{curve['category']}, source {curve['source']}, {curve['clusters']} clusters", fontsize=10)
    axes.set_ylim(bottom=0)
    if sources:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return _save(figure, folder / f"trade_off_{curve['category']}_{curve['source']}.png")


def _reliability(category: str, items: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#9aa0a6", linewidth=0.8)
    for item, color in zip(items, _colors(len(items)), strict=True):
        bins = item["bins"]
        axes.plot([b["stated"] for b in bins], [b["seen"] for b in bins], marker="o", color=color, label=item["member"])
    axes.set_xlabel("P(harm) as the evidence says, at even odds")
    axes.set_ylabel("share that is harmful, at even odds")
    axes.set_title(category, fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, folder / f"reliability_{category}.png")


def _colors(count: int) -> list[str]:
    return [COLORS[place % len(COLORS)] for place in range(count)]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path
