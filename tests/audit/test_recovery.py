"""Opening a log again: wherever it was cut or damaged, exactly the whole lines before that are kept, and nothing is destroyed."""

from collections.abc import Iterator
from errno import EIO
from itertools import accumulate
from pathlib import Path

import pytest
from interlock_server.audit import recovery
from interlock_server.audit.framing import log_path, sealed_path, texts_path, torn_path
from interlock_server.audit.record import SegmentStart
from interlock_server.audit.seal import seal
from interlock_server.audit.segment import Tip

from .disk import Bench, Disk, entry, nothing, numbers, shape, stored
from .samples import verdicts, write_log, write_segment

BEFORE = 5
"""Records in the segment before the last one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of two segments, the last of which was not closed."""
    write_log(tmp_path, verdicts(BEFORE), verdicts(3, first=BEFORE + 1))
    return tmp_path


def recover(folder: Path) -> Tip:
    """With a disk that waits for nothing."""
    return recovery.recover(folder, Disk())


def digest(line: bytes) -> bytes:
    """Of a line."""
    return bytes.fromhex(line[:64].decode())


def cuts(content: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Every place behind the first line where it can be cut, with the lines that are whole before it."""
    lines = content.splitlines(keepends=True)
    ends = list(accumulate(map(len, lines)))
    for size in range(len(lines[0]), len(content) + 1):
        yield size, [line for line, end in zip(lines, ends, strict=True) if end <= size]


def test_a_new_folder_begins_with_the_first_segment(tmp_path: Path):
    """Which follows nothing."""
    assert Tip() == recover(tmp_path)
    Bench(tmp_path).open()
    assert ["000001.log"] == [path.name for path in tmp_path.iterdir()]


def test_a_closed_segment_is_followed(tmp_path: Path):
    """By the digest of its last line."""
    last = write_log(tmp_path, verdicts(2), ended=True)[-1]

    assert Tip(2, last) == recover(tmp_path)


def test_the_end_of_a_segment_is_not_made_up(folder: Path):
    """What was not closed stays so; the next one points at its last record."""
    Bench(folder).open()

    assert ["S", *"12345", "E", "S", *"678", "S"] == shape(folder)


def test_wherever_a_segment_was_cut_the_whole_lines_stay(folder: Path):
    """For every single byte; what is behind is moved."""
    path, torn = log_path(folder, 2), torn_path(folder, 2)
    content = path.read_bytes()
    for size, whole in cuts(content):
        path.write_bytes(content[:size])
        tip = recover(folder)

        assert b"".join(whole) == path.read_bytes()
        assert content[:size] == path.read_bytes() + (torn.read_bytes() if torn.exists() else b"")
        assert tip.number == (3 if len(whole) > 1 else 2)
        assert len(whole) == 1 or digest(whole[-1]) == tip.previous
        torn.unlink(missing_ok=True)


def test_whatever_byte_is_changed_the_lines_before_it_stay(folder: Path):
    """Whether it is in a digest, in a record or between them."""
    path, torn = log_path(folder, 2), torn_path(folder, 2)
    content = path.read_bytes()
    for place, whole in cuts(content):
        if place == len(content):
            break
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        recover(folder)

        assert b"".join(whole) == path.read_bytes()
        torn.unlink()


def test_what_was_torn_is_kept_whenever_it_happens(folder: Path):
    """The second time it is put behind the first."""
    for tail in (b"first", b"second"):
        with log_path(folder, 2).open("ab") as file:
            file.write(tail)
        recover(folder)

    assert b"firstsecond" == torn_path(folder, 2).read_bytes()


def test_an_unclosed_segment_without_records_is_replaced(tmp_path: Path):
    """Or a server that fails at every start would fill the folder. What had been retired stays known."""
    write_log(tmp_path, verdicts(2), [], retired_through=7)
    texts_path(tmp_path, 2).write_bytes(b"texts that no record names")
    Bench(tmp_path).open().close()
    starts = [record for record in stored(tmp_path) if isinstance(record, SegmentStart)]

    assert [(1, 7), (2, 7)] == [(start.number, start.retired_through) for start in starts]
    assert ["S", "1", "2", "E", "S", "E"] == shape(tmp_path)
    assert not texts_path(tmp_path, 2).exists()


def test_a_segment_that_is_damaged_from_its_first_line_is_kept_beside(folder: Path):
    """The log goes on behind the one before."""
    path = log_path(folder, 2)
    content = path.read_bytes()
    path.write_bytes(b"0" + content)
    tip = recover(folder)

    assert (3, digest(log_path(folder, 1).read_bytes().splitlines()[-1])) == (tip.number, tip.previous)
    assert b"0" + content == torn_path(folder, 2).read_bytes()


def test_damage_in_an_earlier_segment_is_no_reason_not_to_start(folder: Path):
    """It is found when the log is verified."""
    expected = recover(folder)
    log_path(folder, 1).write_bytes(b"nonsense")

    assert expected == recover(folder)
    assert b"nonsense" == log_path(folder, 1).read_bytes()


@pytest.mark.parametrize("name", ["000007.log", "000008.parquet", "1000000.texts", "000009.torn"])
def test_no_number_is_used_twice(folder: Path, name: str):
    """Whatever there is of a segment with a higher one."""
    (folder / name).write_bytes(b"something")

    assert int(name.split(".")[0]) + 1 == recover(folder).number


def test_an_empty_segment_with_something_behind_it_is_not_replaced(tmp_path: Path):
    """Its number and those up to there have been used."""
    write_log(tmp_path, [])
    (tmp_path / "000003.torn").touch()

    assert 4 == recover(tmp_path).number


def test_a_sealed_segment_is_followed(tmp_path: Path):
    """Should it ever be the last one."""
    last = write_log(tmp_path, verdicts(2), ended=True)[-1]
    write_segment(tmp_path, 2, [], last)
    assert [1] == list(seal(tmp_path))
    log_path(tmp_path, 2).unlink()

    assert Tip(2, last) == recover(tmp_path)


def test_a_sealed_segment_that_cannot_be_read_is_no_reason_not_to_start(tmp_path: Path):
    """The log goes on behind the one before."""
    last = write_log(tmp_path, verdicts(2), ended=True)[-1]
    sealed_path(tmp_path, 2).write_bytes(b"nonsense")

    assert Tip(3, last) == recover(tmp_path)


@pytest.mark.parametrize("killed_at", [("write", "000001.log"), ("sync", "000001.texts")])
def test_what_the_next_segment_refers_to_is_on_disk(tmp_path: Path, killed_at: tuple[str, str]):
    """In best_effort a killed process leaves records that the machine may still lose; here one that was closing its log."""
    bench = Bench(tmp_path / "log", mode="best_effort")
    writer = bench.open()
    writer.write([entry(1), entry(2)])

    def kill(operation: str, name: str) -> None:
        if (operation, name) == killed_at:
            raise KeyboardInterrupt

    bench.disk.on_operation = kill
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    bench.disk.on_operation = nothing
    bench.open()

    assert [1, 2] == numbers(stored(bench.disk.after_power_loss(tmp_path / "left")))


def test_an_interrupted_recovery_loses_nothing(folder: Path):
    """It is done once more."""
    torn = b"torn" * 100
    with log_path(folder, 2).open("ab") as file:
        file.write(torn)

    def fails(operation: str, name: str) -> None:
        if operation == "truncate":
            raise OSError(EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        recovery.recover(folder, Disk(fails))
    recover(folder)

    assert torn + torn == torn_path(folder, 2).read_bytes()
    assert [1, 2, 3, 4, 5, 6, 7, 8] == numbers(stored(folder))
