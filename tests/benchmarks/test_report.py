"""The page, from results that are whole, partial or missing."""

from pathlib import Path
from typing import Any

import plots
import pytest
from goals import COLUMNS, GOALS, behind, judged, table
from report import rendered


def found(median: float | None, **others: float) -> dict[str, Any]:
    """A figure with its spread."""
    return {"median": median, "min": median, "max": median, "n": 3, **others}


def server(**changes: float | None) -> dict[str, Any]:
    """A row of the table of peers."""
    return {column.figure: found(changes.get(column.figure, 10.0)) for column in COLUMNS}


PEERS = {
    "servers": {"bare": {"per_s": found(100.0)}, "interlock": server(), "slow": server(per_s=1.0, goodput_per_s=None)},
    "failed": {"absent": "has no wheel"},
    "configurations": {"slow": "2 workers"},
}
SOAK = {
    "rate_per_s": 90.0, "load": 0.7, "memory_mb": [100.0, 101.0, 101.0], "outcomes": {"verdict": 9, "late": 0},
    "buckets": [{"at_s": 0.0, "p50_ms": 5.0, "p99_ms": 9.0}, {"at_s": 10.0, "p50_ms": 5.0, "p99_ms": None}],
    "trend": {
        "memory_mb_per_hour": 9.0, "p50_last_to_first": 1.0, "p99_last_to_first": None, "flat": False, "not_flat": ["p99"],
    },
}  # fmt: skip


def test_a_page_without_results_says_how_to_get_them():
    """Nothing is left blank, and no placeholder stays."""
    page = rendered({})

    assert "Not yet measured; `make bench` does it." in page
    assert "Not yet measured on a GPU;" in page
    assert "$" not in page


def test_peers_are_shown_with_their_failures():
    """A peer that did not run is named with the reason, and an unknown figure is a dash."""
    page = rendered({"peers": PEERS})

    assert "| slow (2 workers) | 10 (10 to 10) |" in page
    assert "`absent` did not run: has no wheel" in page
    assert "A peer is ahead of Interlock: nowhere." in page


def test_a_peer_that_is_ahead_is_named():
    """With the column."""
    servers = {"interlock": server(at_60_p99_ms=30.0), "fast": server(at_60_p99_ms=20.0)}

    assert [("fast", "at_60_p99_ms")] == behind(servers)


def test_a_figure_that_interlock_lacks_is_behind():
    """Too many requests without a verdict is no excuse."""
    servers = {"interlock": server(at_60_p99_ms=None), "fast": server()}

    assert [("fast", "at_60_p99_ms")] == behind(servers)


@pytest.mark.parametrize(
    ("value", "met"), [(0.90, True), (0.8999, False), (None, False)], ids=["on the bound", "below", "unknown"]
)
def test_a_goal_is_met_from_its_bound_on(value: float | None, met: bool):
    """What is unknown is not met."""
    rows = judged({"throughput_over_bare": value})

    assert met is rows[0]["met"]
    assert len(GOALS) + 2 == len(table(rows))


def test_the_soak_is_told_in_a_sentence():
    """With the memory at begin, middle and end."""
    page = rendered({"soak": SOAK})

    assert "Not flat: p99. Memory grew by 9 MB an hour" in page
    assert "went from 100 MB over 101 in the middle to 101 MB" in page


@pytest.mark.parametrize(("name", "result"), [("peers", PEERS), ("soak", SOAK)])
def test_plots_are_the_same_for_the_same_results(tmp_path: Path, name: str, result: dict[str, Any]):
    """So that a page that did not change makes no noise in the history."""
    paths = [tmp_path / "docs" / f"{turn}.svg" for turn in range(2)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        plots.PLOTS[name](result, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < 60_000
