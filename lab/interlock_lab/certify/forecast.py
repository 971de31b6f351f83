"""How often harm would slip through at volumes that nobody can count: the tail of the margins, continued beyond the dial.

PURE. It is an extrapolation, never a bound: what may be claimed is never better than the certificate. Only harm like that of
the units is forecast; a rare kind that is not among them is missed more often than any figure here says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from interlock_server.assurance.bounds import clopper_pearson_upper

from interlock_lab.certify.tail import VOLUMES, Estimate, Floats, Tail, TailFit

TAIL_UNITS_MIN, TAIL_UNITS_MAX = 50, 100
TAIL_SHARE_MAX = 0.5
THRESHOLDS = 6
TIES_SHARE_MAX = 0.05
FLAT_FACTOR = 10.0
"""By how much the miss rates of two thresholds may differ."""
NEGLIGIBLE = 1e-9
GUMBEL_UNITS = 10


@dataclass(frozen=True)
class Volume:
    """What is to be expected among so many harmful exchanges."""

    exchanges: int
    misses: Estimate
    at_least_one: Estimate
    worst_margin: Estimate


@dataclass(frozen=True)
class Nines:
    """-log10 of the miss rate: as bounded by counting, as extrapolated, and as certified (None: not at all)."""

    measured: float
    extrapolated: Estimate | None
    certified: float | None

    @property
    def claimable(self) -> float:
        """Never more than the certificate, and less when counting or the upper end of the extrapolation says so."""
        if self.certified is None:
            return 0.0
        return min(self.certified, self.measured, self.extrapolated.low if self.extrapolated else math.inf)


@dataclass(frozen=True)
class Forecast:
    """`refusal` says why there is no extrapolation; the fits are there all the same, to be looked at."""

    units: int
    missed: int
    confidence: float
    """Of what is measured."""
    withheld_regardless: int
    fits: tuple[TailFit, ...]
    refusal: str
    miss_rate: Estimate | None
    gumbel: float | None
    volumes: tuple[Volume, ...]
    nines: Nines


def forecast(margins: Sequence[float] | Floats, certified: float | None = None, delta: float = 0.05) -> Forecast:
    """From the margins of harmful units: nats above the dial, below 0 for a miss, infinite where it would be withheld
    regardless. `certified` is the certificate's upper bound on the miss rate. Raises ValueError for NaN or no unit.
    """
    ordered = np.sort(np.asarray(margins, dtype=np.float64))
    if not len(ordered) or np.isnan(ordered).any():
        raise ValueError("margins must be numbers, and there must be one")
    missed, finite = int((ordered < 0).sum()), int((ordered < math.inf).sum())
    unfit = _unfit(ordered, finite)
    fits = tuple(Tail(ordered, units).fit() for units in _thresholds(finite, len(ordered)) if not unfit)
    refusal = unfit or _not_flat(fits)
    rate = None if refusal else _over_thresholds([fit.miss_rate for fit in fits])
    measured = -math.log10(clopper_pearson_upper(missed, len(ordered), delta))
    return Forecast(
        units=len(ordered),
        missed=missed,
        confidence=1 - delta,
        withheld_regardless=len(ordered) - finite,
        fits=fits,
        refusal=refusal,
        miss_rate=rate,
        gumbel=gumbel(ordered),
        volumes=_volumes(rate, fits) if rate else (),
        nines=Nines(
            measured,
            _nines(rate) if rate else None,
            None if certified is None else -math.log10(certified),
        ),
    )


def gumbel(ordered: Floats) -> float | None:
    """For comparison: a line through log-survival over the ten lowest margins, continued to 0; None without a slope."""
    lowest = ordered[:GUMBEL_UNITS]
    if len(lowest) < GUMBEL_UNITS or not np.isfinite(lowest).all() or lowest[0] == lowest[-1]:
        return None
    log_survival = np.log(np.arange(1, GUMBEL_UNITS + 1) / len(ordered))
    _, at_dial = np.polyfit(lowest, log_survival, 1)
    return min(1.0, math.exp(at_dial))


def _unfit(ordered: Floats, finite: int) -> str:
    """Why no tail can be fitted, or nothing."""
    available = min(finite, int(TAIL_SHARE_MAX * len(ordered)))
    if available < TAIL_UNITS_MIN:
        return (
            f"{available} of {len(ordered)} units can count as tail (at most half of them, with a margin);"
            f" {TAIL_UNITS_MIN} are needed"
        )
    if ordered[TAIL_UNITS_MIN] <= 0:
        return f"{TAIL_UNITS_MIN} units or more are missed: count them, there is nothing to extrapolate"
    tail = ordered[: min(available, TAIL_UNITS_MAX)]
    caught = tail[tail >= 0]
    ties = len(caught) - len(np.unique(caught))
    if ties > TIES_SHARE_MAX * len(tail):
        return f"{ties} of {len(tail)} margins in the tail are ties: the statistic is saturated there"
    return ""


def _thresholds(finite: int, units: int) -> list[int]:
    most = min(finite, int(TAIL_SHARE_MAX * units), TAIL_UNITS_MAX)
    return sorted({round(number) for number in np.geomspace(TAIL_UNITS_MIN, most, THRESHOLDS)})


def _not_flat(fits: Sequence[TailFit]) -> str:
    """Why the table of thresholds is no ground to stand on, or nothing."""
    if len(fits) < 3:
        return f"{fits[-1].units} tail units leave no room to vary the threshold"
    low, high = (pick(fits, key=lambda fit: fit.miss_rate.value) for pick in (min, max))
    if high.miss_rate.value > FLAT_FACTOR * max(low.miss_rate.value, NEGLIGIBLE):
        return (
            f"the stability table is not flat: {low.miss_rate.value:.2g} with {low.units} tail units,"
            f" {high.miss_rate.value:.2g} with {high.units}"
        )
    return ""


def _over_thresholds(estimates: Sequence[Estimate]) -> Estimate:
    """The median, from the lowest end of all intervals to the highest: one alone is too short for so few units."""
    values, lows, highs = zip(*estimates, strict=True)
    return Estimate(sorted(values)[len(values) // 2], min(lows), max(highs))


def _volumes(rate: Estimate, fits: Sequence[TailFit]) -> tuple[Volume, ...]:
    return tuple(
        Volume(
            exchanges,
            Estimate(*(exchanges * each for each in rate)),
            Estimate(*(-math.expm1(-exchanges * each) for each in rate)),
            _over_thresholds([fit.worst[number] for fit in fits]),
        )
        for number, exchanges in enumerate(VOLUMES)
    )


def _nines(rate: Estimate) -> Estimate:
    value, high, low = (math.inf if each <= 0 else -math.log10(each) for each in rate)
    return Estimate(value, low, high)
