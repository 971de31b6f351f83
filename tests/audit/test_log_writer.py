"""The writer: what it acknowledges is on disk, whatever fails and whenever the power does."""

from errno import EIO
from pathlib import Path

import pytest
from interlock_server.audit.framing import FULL, TextFrame, packed
from interlock_server.audit.record import SegmentStart
from interlock_server.audit.writer import Entry, Writer

from .disk import Bench, entry, full, nothing, numbers, shape, stored
from .samples import verdict, verdict_id

ENTRIES = range(1, 9)


def test_records_are_stored_as_they_were_made(tmp_path: Path):
    """Between the lines of the segment."""
    bench = Bench(tmp_path)
    writer = bench.open()

    assert [True, True] == writer.write([entry(1, completion=b"a"), entry(2, completion=b"b")])
    writer.close()
    assert ["S", "1", "2", "E"] == shape(tmp_path)
    assert 2 == bench.counts.records


def test_texts_are_on_disk_before_their_records(tmp_path: Path):
    """Both before anything is acknowledged, and so is the name of the new file."""
    bench = Bench(tmp_path)
    writer = bench.open()
    bench.disk.operations.clear()
    writer.write([entry(1), entry(2)])

    log, texts = "000001.log", "000001.texts"
    assert [
        ("open", texts), ("sync_folder", ""), ("write", texts), ("write", log), ("sync", texts), ("sync", log),
    ] == bench.disk.operations  # fmt: skip


def test_a_segment_is_on_disk_before_it_has_its_name(tmp_path: Path):
    """No crash leaves one without its first line."""
    bench = Bench(tmp_path)
    bench.open()

    draft, log = "000001.new", "000001.log"
    assert [
        ("open", draft), ("write", draft), ("sync", draft), ("rename", log), ("sync_folder", ""),
    ] == bench.disk.operations[1:]  # fmt: skip


def test_best_effort_does_not_wait_for_the_disk(tmp_path: Path):
    """Until a segment is closed."""
    bench = Bench(tmp_path, mode="best_effort")
    writer = bench.open()
    bench.disk.operations.clear()
    writer.write([entry(1)])
    before = [name for operation, name in bench.disk.operations if operation == "sync"]
    writer.close()

    assert [] == before
    assert [("sync", "000001.texts"), ("sync", "000001.log")] == [
        item for item in bench.disk.operations if item[0] == "sync"
    ]


def test_a_text_lies_where_its_record_says(tmp_path: Path):
    """Also the second of a group."""
    writer = Bench(tmp_path).open()
    writer.write([entry(1, completion=b"first")])
    writer.write([entry(2, completion=b"second"), entry(3, completion=b"third")])
    third = stored(tmp_path)[-1]

    frame = TextFrame(verdict_id(3), FULL, packed(b"prompt", b"third")).to_bytes()
    assert (tmp_path / "000001.texts").read_bytes()[third.text.offset :] == frame


def test_an_entry_that_cannot_be_made_fails_alone(tmp_path: Path):
    """Nothing of it is written, not even its text."""
    bench = Bench(tmp_path)
    writer = bench.open()
    failing = Entry(lambda text: 1 / 0, verdict_id(2), b"", b"secret", "RELEASE")  # type: ignore[arg-type, return-value]

    assert [True, False, True] == writer.write([entry(1), failing, entry(3)])
    assert [1, 3] == numbers(stored(tmp_path))
    assert b"secret" not in (tmp_path / "000001.texts").read_bytes()
    assert (1, [True]) == (bench.counts.failures, bench.counts.health)


def test_a_record_that_is_too_long_fails(tmp_path: Path):
    """Nobody could read it."""
    long = Entry(lambda text: verdict(1, text=text, request_id="r" * 17_000_000), verdict_id(1))

    assert [False] == Bench(tmp_path).open().write([long])


def test_a_full_segment_is_closed(tmp_path: Path):
    """And sealing is begun."""
    bench = Bench(tmp_path)
    writer = bench.open()
    for number in range(1, 5):
        writer.write([entry(number)])
        writer.tend()

    assert ["S", "1", "2", "3", "E", "S", "4"] == shape(tmp_path)
    assert 1 == bench.seals.begun


def test_an_old_segment_is_closed(tmp_path: Path):
    """By the age of its first record; one without any may grow old."""
    bench = Bench(tmp_path, segment_age_s=10)
    writer = bench.open()
    bench.now_s += 100
    assert writer.tend() is None
    writer.write([entry(1)])
    bench.now_s += 9
    writer.write([entry(2)])
    assert 1 == writer.tend()
    bench.now_s += 1
    writer.tend()

    assert ["S", "1", "2", "E", "S"] == shape(tmp_path)


def test_a_full_disk_is_told_once_and_survived(tmp_path: Path):
    """Three groups fail, and when there is room again the log goes on behind the last good record."""
    bench = Bench(tmp_path)
    writer = bench.open()
    writer.write([entry(1)])
    bench.disk.on_operation = full
    failed = [writer.write([entry(number), entry(number + 1)]) for number in (2, 4, 6)]
    bench.disk.on_operation = nothing
    bench.now_s += 1

    assert [[False, False]] * 3 == failed
    assert [True] == writer.write([entry(8)])
    assert ["S", "1", "S", "8"] == shape(tmp_path)
    assert (6, [True, False, True]) == (bench.counts.failures, bench.counts.health)


def test_a_failure_is_not_tried_again_at_once(tmp_path: Path):
    """However many want to write."""
    bench = Bench(tmp_path)
    writer = bench.open()
    bench.disk.on_operation = full
    writer.write([entry(1)])
    bench.disk.operations.clear()
    for _ in range(100):
        bench.now_s += 0.0005
        writer.write([entry(2)])

    assert [] == bench.disk.operations


def test_a_log_that_nobody_writes_recovers_by_itself(tmp_path: Path):
    """Or a server that is not asked because it is unhealthy would be so for ever."""
    bench = Bench(tmp_path)
    writer = bench.open()
    bench.disk.on_operation = full
    writer.write([entry(1)])
    bench.disk.on_operation = nothing
    pause_s = writer.tend()
    assert pause_s is not None
    bench.now_s += pause_s
    writer.tend()

    assert [True, False, True] == bench.counts.health


@pytest.mark.parametrize("file", ["000001.log", "000001.texts"])
def test_a_file_that_was_not_synced_is_not_trusted_again(tmp_path: Path, file: str):
    """The kernel may forget what it could not write, and say so only once."""
    bench = Bench(tmp_path)
    writer = bench.open()
    writer.write([entry(1)])

    def broken(operation: str, name: str) -> None:
        if (operation, name) == ("sync", file):
            bench.disk.on_operation = nothing
            bench.disk.operations.clear()
            raise OSError(EIO, "Input/output error")

    bench.disk.on_operation = broken
    assert [False] == writer.write([entry(2)])
    bench.now_s += 1
    assert [True] == writer.write([entry(3)])

    assert {"truncate", "sync", "close"} == {op for op, name in bench.disk.operations if name.startswith("000001")}
    assert ["S", "1", "S", "3"] == shape(tmp_path)


def test_what_cannot_be_cut_off_stops_the_log(tmp_path: Path):
    """A record that was not acknowledged would stand before the next segment as if it belonged there."""
    bench = Bench(tmp_path)
    writer = bench.open()

    def broken(operation: str, name: str) -> None:
        if operation in ("write", "truncate") and name == "000001.log":
            raise OSError(EIO, "Input/output error")

    bench.disk.on_operation = broken
    writer.write([entry(1)])
    bench.now_s += 1
    assert [False] == writer.write([entry(2)])
    bench.disk.on_operation = nothing
    bench.now_s += 1
    assert [True] == writer.write([entry(3)])
    assert ["S", "3"] == shape(tmp_path)


def test_the_next_segment_names_the_last_durable_record(tmp_path: Path):
    """Not one whose writing had failed."""
    bench = Bench(tmp_path)
    writer = bench.open()
    writer.write([entry(1)])
    last = (tmp_path / "000001.log").read_bytes().splitlines()[-1]
    bench.disk.on_operation = full
    writer.write([entry(2)])
    bench.disk.on_operation = nothing
    bench.now_s += 1
    writer.write([entry(3)])
    starts = [record for record in stored(tmp_path) if isinstance(record, SegmentStart)]

    assert ["", last[:64].decode()] == [start.previous for start in starts]


def write_all(bench: Bench, acknowledged: list[int]) -> None:
    """Every entry, tried again until it is acknowledged. In the middle the process is killed and started again."""
    for number in ENTRIES:
        if number in (ENTRIES[0], ENTRIES[5]):
            writer = opened(bench)
        while not writer.write([entry(number)])[0]:
            bench.now_s += 1
        acknowledged.append(number)
        writer.tend()
    writer.close()


def opened(bench: Bench) -> Writer:
    """However often it fails."""
    while True:
        try:
            return bench.open()
        except OSError:
            bench.now_s += 1


def test_what_was_acknowledged_survives_a_power_loss_at_any_moment(tmp_path: Path):
    """Before every single operation, with all that the disk had not been told to keep gone."""
    bench, acknowledged = Bench(tmp_path / "log"), list[int]()
    images: list[tuple[Path, list[int]]] = []

    def lose_power(operation: str, name: str) -> None:
        images.append((bench.disk.after_power_loss(tmp_path / str(len(images))), list(acknowledged)))

    bench.disk.on_operation = lose_power
    write_all(bench, acknowledged)

    assert list(ENTRIES) == acknowledged
    assert len(images) > 50
    for folder, expected in images:
        again = Bench(folder)
        again.open().close()
        found = numbers(stored(folder))
        assert expected == found[: len(expected)]
        assert len(found) <= len(expected) + 1


@pytest.mark.parametrize("mode", ["required", "best_effort"])
@pytest.mark.parametrize("failures", [1, 3])
def test_what_was_acknowledged_survives_a_failure_of_any_operation(tmp_path: Path, mode: str, failures: int):
    """One after the other fails, and those that come next; then all goes on."""
    failing_at, reached = 0, True
    while reached:
        folder = tmp_path / str(failing_at)
        bench, acknowledged = Bench(folder, mode=mode), list[int]()
        left = [failing_at, failures]

        def fails(operation: str, name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0 and left[1]:
                left[1] -= 1
                raise OSError(EIO, "Input/output error")

        bench.disk.on_operation = fails
        write_all(bench, acknowledged)
        if mode == "required":
            folder = bench.disk.after_power_loss(tmp_path / f"{failing_at}-survived")
        Bench(folder).open().close()

        assert list(ENTRIES) == acknowledged == numbers(stored(folder))
        reached = not left[1]
        failing_at += 1
    assert failing_at > 50
