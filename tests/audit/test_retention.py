"""Retention: the oldest closed segments go, after the log has said so, and never the one that is being written."""

import os
import time
from pathlib import Path

import pytest
from interlock_server.audit.record import SegmentStart, decode
from interlock_server.audit.retention import Held, overdue, stock
from interlock_server.audit.settings import AuditSettings
from interlock_server.audit.verify import verify

from .disk import Bench, entry, nothing

DAY_S = 86_400.0
HELD = [Held(number, 600_000, number * DAY_S, ()) for number in (1, 2, 3, 4)]


def chosen(held: list[Held] = HELD, **settings: float) -> list[int]:
    """On the fifth day."""
    return [item.number for item in overdue(held, AuditSettings(**settings), 5 * DAY_S)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"retain_days": 10.0}, []),
        ({"retain_days": 4.0}, []),
        ({"retain_days": 2.5}, [1, 2]),
        ({"retain_days": 0.5}, [1, 2, 3, 4]),
        ({"retain_bytes_max": 2_400_000}, []),
        ({"retain_bytes_max": 2_399_999}, [1]),
        ({"retain_bytes_max": 1_048_576}, [1, 2, 3]),
        ({"retain_days": 3.5, "retain_bytes_max": 1_500_000}, [1, 2]),
    ],
)
def test_the_oldest_segments_go(settings: dict[str, float], expected: list[int]):
    """Those that are too old, and those for which there is no room."""
    assert expected == chosen(**settings)


def test_nothing_goes_behind_what_stays():
    """Or the chain would have a hole: here the second is older than the first."""
    held = [HELD[3], *HELD[:3]]

    assert [] == chosen(held, retain_days=2.5)


def test_every_file_of_a_segment_counts(tmp_path: Path):
    """What was written last is told by its records, not by its texts."""
    for name, size in {"000003.log": 10, "000003.texts": 20, "000003.torn": 30, "000012.parquet": 40}.items():
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (0, size))
    for name in ("hash.key", "seal.lock", "000013.new", "000012.parquet.tmp", "notes.log"):
        (tmp_path / name).write_bytes(b"")

    assert [(3, 60, 10.0), (12, 40, 40.0)] == [(held.number, held.size, held.changed_s) for held in stock(tmp_path)]


def test_a_file_that_goes_meanwhile_is_no_failure(tmp_path: Path):
    """Sealing removes logs when it likes; here one that is listed and is not there."""
    (tmp_path / "000001.log").symlink_to(tmp_path / "missing")
    (tmp_path / "000002.log").touch()

    assert [2] == [held.number for held in stock(tmp_path)]


def age(folder: Path) -> None:
    """Makes all files a day older than they may be."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - 3 * DAY_S,) * 2)


def closed_and_aged(bench: Bench) -> None:
    """One more segment, closed in order."""
    writer = bench.open()
    writer.write([entry(1)])
    writer.close()
    age(bench.folder)


def starts(folder: Path) -> list[tuple[int, int]]:
    """What the first lines say: number, and through which segment others were retired."""
    firsts = [decode(path.read_bytes().splitlines()[0][65:]) for path in sorted(folder.glob("*.log"))]
    return [(first.number, first.retired_through) for first in firsts if isinstance(first, SegmentStart)]


def test_the_log_says_so_before_a_segment_goes(tmp_path: Path):
    """In the first line of the next one, which is on disk by then."""
    bench = Bench(tmp_path, retain_days=2.0)
    closed_and_aged(bench)
    bench.disk.operations.clear()
    bench.open()
    done = bench.disk.operations

    assert [(2, 1)] == starts(tmp_path)
    assert {("remove", "000001.log"), ("remove", "000001.texts")} == set(done[done.index(("sync_folder", "")) + 1 :])


def test_segments_go_while_the_log_is_written(tmp_path: Path):
    """Whenever a new one is begun: here the first, once it is old, when the second is full."""
    bench = Bench(tmp_path, retain_days=2.0)
    writer = bench.open()
    for _ in range(2):
        age(tmp_path)
        writer.write([entry(number) for number in range(3)])
        writer.tend()

    assert [(2, 0), (3, 1)] == starts(tmp_path)


def test_segments_go_though_nobody_writes(tmp_path: Path):
    """The open one, which holds nothing, is begun again in its place. Nothing is to be sealed."""
    bench = Bench(tmp_path, retain_days=2.0, segment_age_s=10)
    writer = bench.open()
    writer.write([entry(number) for number in range(3)])
    writer.tend()
    pause_s = writer.tend()
    age(tmp_path)
    bench.now_s += 10
    writer.tend()

    assert 10 == pause_s
    assert [(2, 1)] == starts(tmp_path)
    assert 1 == bench.seals.begun
    writer.write([entry(4)])
    writer.close()
    assert () == verify(tmp_path).problems


def test_what_was_retired_is_remembered(tmp_path: Path):
    """Also by a log that was opened again, and has nothing to retire."""
    bench = Bench(tmp_path, retain_days=2.0)
    closed_and_aged(bench)
    bench.open().write([entry(1)])
    bench.open()

    assert [(2, 1), (3, 1)] == starts(tmp_path)


def test_the_open_segment_stays(tmp_path: Path):
    """However old, and however small the log is to be."""
    bench = Bench(tmp_path, retain_days=1e-9, retain_bytes_max=1024 * 1024, segment_bytes_max=10**9)
    writer = bench.open()
    writer.write([entry(number) for number in range(50)])
    age(tmp_path)
    writer.tend()

    assert {"000001.log", "000001.texts"} == {path.name for path in tmp_path.iterdir()}


def test_a_segment_that_is_replaced_is_not_retired(tmp_path: Path):
    """Or the one in its place would be removed."""
    bench = Bench(tmp_path, retain_days=2.0)
    bench.open()
    age(tmp_path)
    bench.open()

    assert [(1, 0)] == starts(tmp_path)


def test_a_segment_of_a_killed_process_goes_too(tmp_path: Path):
    """Once the next one follows it."""
    bench = Bench(tmp_path, retain_days=2.0)
    bench.open().write([entry(1)])
    age(tmp_path)
    bench.open()

    assert ["000002.log"] == [path.name for path in tmp_path.iterdir()]


def test_what_could_not_be_removed_goes_next_time(tmp_path: Path):
    """It is no reason to stop."""
    bench = Bench(tmp_path, retain_days=2.0)

    def fails(operation: str, name: str) -> None:
        if (operation, name[:6]) == ("remove", "000001"):
            raise OSError

    closed_and_aged(bench)
    bench.disk.on_operation = fails
    bench.open().write([entry(1)])
    stayed = [held.number for held in stock(tmp_path)]
    bench.disk.on_operation = nothing
    bench.open()

    assert [1, 2] == stayed
    assert [(2, 1), (3, 1)] == starts(tmp_path)
