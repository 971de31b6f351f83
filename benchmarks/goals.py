"""The goals, as ratios that mean the same on every machine, and which of them a result meets. PURE.

What is not known is not met.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """A figure of a result, and what it should be."""

    figure: str
    title: str
    sign: str
    bound: float


class Column(NamedTuple):
    """A figure that every server has."""

    figure: str
    title: str
    sign: str


GOALS = (
    Goal("throughput_over_bare", "throughput / bare models, default ensemble, mixed lengths", ">=", 0.90),
    Goal(
        "throughput_fast_stream_over_bare", "the same with an ensemble of half a millisecond, on one stream", ">=", 0.75
    ),
    Goal("overhead_us_p50", "overhead outside the models, one caller, median, us", "<=", 400),
    Goal("p50_at_60_over_ideal", "p50 at 60 % load / the ideal queue's", "<=", 1.3),
    Goal("p99_at_60_over_ideal", "p99 at 60 % load / the ideal queue's", "<=", 1.5),
    Goal("goodput_at_1_5x_over_capacity", "verdicts in time at 150 % of capacity / capacity", ">=", 0.95),
    Goal("goodput_at_3x_over_capacity", "verdicts in time at 300 % of capacity / capacity", ">=", 0.95),
    Goal("late_share_at_1_5x", "no answer by the deadline at 150 %, share", "<=", 0.0),
    Goal("late_share_at_3x", "no answer by the deadline at 300 %, share", "<=", 0.0),
    Goal("abandoned_work_share", "work done for callers who left, share", "<=", 0.05),
)
# What servers are compared in; `sign` says which of two is ahead.
COLUMNS = (
    Column("one_caller_p50_ms", "one caller p50, ms", "<="),
    Column("one_caller_p99_ms", "one caller p99, ms", "<="),
    Column("per_s", "mixed, 32 callers, /s", ">="),
    Column("at_60_p50_ms", "at 60 % of its own capacity p50, ms", "<="),
    Column("at_60_p99_ms", "p99, ms", "<="),
    Column("goodput_per_s", "in time at 150 %, /s", ">="),
    Column("abandoned_work_share", "work for callers who left, share", "<="),
)
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


def judged(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with the median found, its spread, and whether it is met."""
    rows = []
    for goal in GOALS:
        found = result.get(goal.figure)
        met = found is not None and _SIGNS[goal.sign](found, goal.bound)
        spread = result.get("spread", {}).get(goal.figure, {})
        rows.append({**goal._asdict(), "found": found, "min": spread.get("min"), "max": spread.get("max"), "met": met})
    return rows


def behind(servers: Mapping[str, Mapping[str, Any]], name: str = "interlock") -> list[tuple[str, str]]:
    """The peers and columns in which a server is not ahead, by medians; an unknown figure is behind a known one."""
    found = []
    for peer in servers.keys() - {name, "bare"}:
        for column in COLUMNS:
            own, other = (servers[server][column.figure]["median"] for server in (name, peer))
            if other is not None and (own is None or not _SIGNS[column.sign](own, other)):
                found.append((peer, column.figure))
    return sorted(found)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The goals as lines of a Markdown table."""
    lines = ["| ratio | goal | found (least to greatest) | met |", "|---|---:|---:|---|"]
    for row in rows:
        found = "unknown" if row["found"] is None else f"{row['found']:g} ({_g(row['min'])} to {_g(row['max'])})"
        lines.append(f"| {row['title']} | {row['sign']} {row['bound']:g} | {found} | {'yes' if row['met'] else 'no'} |")
    return lines


def _g(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
