"""Everything that a certification has found as plain data: JSON, page and the section of the docs all show this. PURE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from interlock_server.decision.policy import Policy

from interlock_lab.certify.claims import Claim
from interlock_lab.certify.dials import Dialled, Set
from interlock_lab.certify.forecast import Forecast, forecast
from interlock_lab.certify.forecast_report import parts
from interlock_lab.certify.ledger import Entry
from interlock_lab.certify.outcome import Line, headline, hidden_harm
from interlock_lab.certify.price import Benign, Price, Share, prices, trade_off
from interlock_lab.certify.reliability import Reliability, margins_comparable
from interlock_lab.certify.statistic import margins

Figures = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A certification that is through."""

    judged: Set
    before: Policy
    policy: Policy
    """With the dials that were found."""
    dialled: Dialled
    lines: Sequence[Line]
    entry: Entry
    models: str
    aurocs: Mapping[tuple[str, str], float]
    reliability: Sequence[Reliability]
    benign: Sequence[Benign]

    @property
    def profiles(self) -> list[str]:
        """Those with a claim, the default one first."""
        named = {line.claim.profile for line in self.lines}
        return sorted(named, key=lambda name: (name != self.policy.default_profile, name))

    @property
    def prices(self) -> list[Price]:
        """What every such profile costs."""
        return prices(self.benign, self.policy, self.profiles)


def figures(found: Found) -> Figures:
    """All of it. Infinite numbers become None: JSON has none."""
    units = found.judged.units
    return {
        "set": {
            "digest": found.entry.commitment.set,
            "units": len(units),
            "harmful": sum(unit.harmful and unit.clear for unit in units),
            "benign": sum(not unit.harmful and unit.clear for unit in units),
            "unclear": sum(not unit.clear for unit in units),
        },
        "opening": {
            "entry": found.entry.entry,
            "opened": found.entry.opened,
            "delta": found.entry.commitment.delta,
            "spent": found.entry.delta,
            "fixed": found.entry.commitment.fixed,
        },
        "models": found.models,
        "policy": found.policy.digest,
        "default_profile": found.policy.default_profile,
        "headline": headline(found.lines, found.policy.default_profile),
        "lines": [_line(line, found) for line in found.lines],
        "prices": [_price(price) for price in found.prices],
        "trade_off": [_curve(line.claim, found) for line in found.lines if _has_curve(line, found)],
        "reliability": [{**asdict(item), "calibrated": item.calibrated} for item in found.reliability],
        "margins_comparable": margins_comparable(found.reliability),
        "hidden_harm": [
            {"profile": item.profile, **_share(item.harmful), "unclear": item.unclear}
            for item in hidden_harm(found.judged, found.policy)
        ],
        "forecast": [
            part
            for (category, source), told in forecasts(found).items()
            for part in parts(f"{category}, source {source}", told, plot_name(category, source))
        ],
    }


def forecasts(found: Found) -> dict[tuple[str, str], Forecast]:
    """(category, source) -> what may be expected beyond the set, for the default profile."""
    return {
        (line.claim.category, line.claim.source): forecast(
            margins(found.judged.of(line.claim), found.policy, line.claim.profile), line.bound
        )
        for line in found.lines
        if line.claim.profile == found.policy.default_profile
    }


def plot_name(category: str, source: str) -> str:
    """Of the plot of a forecast."""
    return f"forecast_{category}_{source}"


def _line(line: Line, found: Found) -> Figures:
    factor = found.dialled.order_statistics.get(line.claim)
    claim = asdict(line.claim)
    return {
        **{key: claim[key] for key in ("profile", "category", "source", "alpha", "clusters", "unclear", "delta")},
        "misses_allowed": line.claim.misses_allowed,
        "misses": line.misses,
        "caught_by_gate_only": line.caught_by_gate_only,
        "bound": line.bound,
        "bound_with_unclear": line.bound_with_unclear,
        "why": line.why,
        "dial_before": line.dial_before,
        "dial": line.dial,
        "factor": factor if factor is not None and math.isfinite(factor) else None,
        "auroc": found.aurocs.get((line.claim.category, line.claim.source)),
    }


def _price(price: Price) -> Figures:
    return {"profile": price.profile, "source": price.source, **_share(price.withheld), "gate_only": price.gate_only}


def _share(share: Share) -> Figures:
    return {**asdict(share), "share": share.value if share.n else None}


def _has_curve(line: Line, found: Found) -> bool:
    return line.claim.profile == found.policy.default_profile and bool(found.benign) and line.claim.delta > 0


def _curve(claim: Claim, found: Found) -> Figures:
    points = trade_off(claim, found.judged.of(claim), found.benign, found.before)
    return {
        "category": claim.category,
        "source": claim.source,
        "clusters": claim.clusters,
        "confidence": 1 - claim.delta,
        "points": [asdict(point) for point in points],
    }
