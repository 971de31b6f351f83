"""The forecast in words, tables and a plot. Every line says what it is: measured, certified or extrapolated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from matplotlib.figure import Figure

from interlock_lab.certify.forecast import Forecast
from interlock_lab.certify.tail import Estimate, TailFit

LABEL = "Extrapolation, not a bound:"
BLIND = (
    f"{LABEL} it knows only the kinds of harm that are among the units. A rare kind that is not, or that was made to slip"
    " through, is missed more often than any figure here says, and no figure here would show it."
)
DPI = 110


class Part(TypedDict):
    """A part of the certificate's report; `plots` is how the names of its plots begin."""

    title: str
    sentences: list[str]
    header: list[str]
    rows: list[list[str]]
    plots: str


def parts(name: str, found: Forecast, plots: str = "") -> list[Part]:
    """What is to be said of a category and source: volumes, and how stable the extrapolation is."""
    told: list[Part] = [
        {
            "title": f"Forecast by extrapolation: {name}",
            "sentences": [*_sentences(found), _nines(found)],
            "header": ["harmful exchanges", "misses", "at least one miss", "lowest margin, nats"]
            if found.volumes
            else [],
            "rows": [
                [
                    f"{volume.exchanges:,} (extrapolated)",
                    _shown(volume.misses, ".2g"),
                    _shown(volume.at_least_one, ".3g"),
                    _shown(volume.worst_margin, ".3g"),
                ]
                for volume in found.volumes
            ],
            "plots": "",
        }
    ]
    if found.fits:
        told.append(
            {
                "title": f"Stability of the extrapolation: {name}",
                "sentences": [f"{LABEL} the estimate must not depend on how many units are called the tail."],
                "header": ["tail units", "threshold, nats", "shape", "modified scale", "miss rate"],
                "rows": [_row(fit) for fit in found.fits],
                "plots": plots,
            }
        )
    return told


def plot(name: str, found: Forecast, path: Path) -> Path:
    """Miss rate, shape and modified scale against the number of tail units; PNG or SVG by the suffix."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    units = [fit.units for fit in found.fits]
    rates = [fit.miss_rate for fit in found.fits]
    left, middle, right = figure.subplots(1, 3)
    least = min((rate.low for rate in rates if rate.low > 0), default=1e-12)
    shown = [max(rate.value, least) for rate in rates]
    below = [value - max(rate.low, least) for value, rate in zip(shown, rates, strict=True)]
    above = [max(rate.high - value, 0) for value, rate in zip(shown, rates, strict=True)]
    left.errorbar(units, shown, yerr=[below, above], fmt="o", color="#1b6ca8", capsize=3)
    left.set_yscale("log")
    left.set_ylabel("extrapolated miss rate")
    middle.plot(units, [fit.shape for fit in found.fits], marker="o", color="#1b6ca8")
    middle.set_ylabel("shape")
    right.plot(units, [fit.modified_scale for fit in found.fits], marker="o", color="#1b6ca8")
    right.set_ylabel("modified scale, nats")
    for axes in (left, middle, right):
        axes.set_xlabel("tail units")
    figure.suptitle(f"{name}: {'refused' if found.refusal else 'extrapolation'}", fontsize=10)
    figure.savefig(path, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    return path


def _sentences(found: Forecast) -> Iterator[str]:
    missed_max = 10 ** (6 - found.nines.measured)
    counted = (
        f"{found.missed} of {found.units} units are missed, {found.withheld_regardless} are withheld whatever the dial says;"
        f" of a million like them at most {missed_max:,.0f} are missed (confidence {found.confidence:.0%})"
    )
    if found.miss_rate is None:
        yield f"Measured: {counted}. No extrapolation: {found.refusal}."
        return
    yield (
        f"Measured: {counted}. {LABEL} the miss rate is {_shown(found.miss_rate, '.2g')}, by tails through the"
        f" {found.fits[0].units} to {found.fits[-1].units} lowest margins."
    )
    if found.gumbel is not None:
        yield f"{LABEL} a line through the ten lowest margins alone says {found.gumbel:.2g}."
    yield BLIND


def _nines(found: Forecast) -> str:
    nines = found.nines
    said = [f"measured {nines.measured:.2f}"]
    if nines.extrapolated is not None:
        said.append(f"extrapolated {_shown(nines.extrapolated, '.2f')}")
    said.append("not certified" if nines.certified is None else f"certified {nines.certified:.2f}")
    claim = f"may be claimed: {nines.claimable:.2f}" if nines.certified is not None else "nothing may be claimed"
    return f"Nines, -log10 of the miss rate: {', '.join(said)}; {claim}."


def _row(fit: TailFit) -> list[str]:
    return [
        f"{fit.units} (extrapolated)",
        f"{fit.threshold:.2f}",
        f"{fit.shape:.2f}",
        f"{fit.modified_scale:.2f}",
        _shown(fit.miss_rate, ".2g"),
    ]


def _shown(estimate: Estimate, spec: str) -> str:
    value, low, high = (_number(each, spec) for each in estimate)
    return f"{value} ({low} to {high})"


def _number(number: float, spec: str) -> str:
    if math.isinf(number):
        return "unbounded"
    rounded = format(number, spec)
    return f"{float(rounded):,.0f}" if "e+" in rounded else rounded
