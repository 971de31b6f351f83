"""Sealing: a Parquet file takes the place of a log only if it gives it back to the byte, and no damage in it goes unseen."""

import os
from errno import EIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.audit.framing import framed, log_path, sealed_path
from interlock_server.audit.reader import MISFIT, Damage, LogError, Place, Unit, lines, units
from interlock_server.audit.record import FeedbackRecord, Record
from interlock_server.audit.retention import stock
from interlock_server.audit.seal import AlreadySealing, _gives_back, seal

from audit.disk import Disk
from audit.samples import BEGUN_NS, feedback, verdict, verdict_id, verdicts, write_log

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
feedbacks = st.builds(
    FeedbackRecord,
    verdict_id=texts,
    time_unix_ns=st.integers(-(2**63), 2**63 - 1),
    label=st.sampled_from(["HARMFUL", "FINE"]),
    categories=st.lists(texts, max_size=3).map(tuple),
    caller=texts,
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
judged = st.builds(verdict, st.integers(0, 9), caller=texts, request_id=texts, total_s=numbers)


def given_back(folder: Path, segment: int = 1) -> bytes:
    """The log, from what is read of it."""
    read = [line for unit in units(folder) if unit.segment == segment for line in lines(unit)]
    assert [] == [line.damage for line in read if line.damage]
    return b"".join(framed(line.digest or b"", line.record) for line in read)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_log(tmp_path, verdicts(6), [verdict(7), feedback(3)], [verdict(8)])
    return tmp_path


@given(records=st.lists(feedbacks | judged, max_size=5))
def test_a_sealed_segment_gives_its_log_back(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    """To the byte, whatever its records say."""
    folder = tmp_path_factory.mktemp("sealed")
    write_log(folder, records, [])
    before = log_path(folder, 1).read_bytes()

    assert [1] == list(seal(folder))
    assert before == given_back(folder)


def test_closed_segments_are_sealed_and_the_last_is_left(folder: Path) -> None:
    """Somebody may be writing it."""
    assert [1, 2] == list(seal(folder))
    assert ["000001.parquet", "000002.parquet", "000003.log", "seal.lock"] == sorted(os.listdir(folder))
    assert [] == list(seal(folder))


def test_a_damaged_segment_is_left_as_it_is(folder: Path) -> None:
    """And said so; the others are sealed."""
    path = log_path(folder, 1)
    content = path.read_bytes()
    path.write_bytes(content[:700].replace(b"Screen", b"Scream") + content[700:])

    assert [Damage(Place(1, 2), MISFIT), 2] == list(seal(folder))
    assert ["000001.log", "000002.parquet"] == sorted(os.listdir(folder))[:2]


def test_what_columns_cannot_hold_is_left_as_it_is(tmp_path: Path) -> None:
    """A time that is none must not stop the segments behind it."""
    write_log(tmp_path, [verdict(1, time_unix_ns=2**63)], [verdict(2)], [])

    first, second = seal(tmp_path)
    assert isinstance(first, Damage)
    assert 2 == second
    assert [] == list(tmp_path.glob("*.tmp"))


def test_a_log_that_its_parquet_file_does_not_give_back_is_told(folder: Path) -> None:
    """By one record, or one line."""
    write_log(folder / "other", [*verdicts(5), verdict(6, caller="changed")], [])
    list(seal(folder))
    other = log_path(folder / "other", 1)

    assert not _gives_back(sealed_path(folder, 1), Unit(other, 1, 1, None, 0, None))
    other.write_bytes(given_back(folder))
    assert _gives_back(sealed_path(folder, 1), Unit(other, 1, 1, None, 0, None))
    other.write_bytes(given_back(folder) + b"\n")
    assert not _gives_back(sealed_path(folder, 1), Unit(other, 1, 1, None, 0, None))


def test_sealing_that_was_interrupted_is_done_again(folder: Path) -> None:
    """Before the log was removed, or before its Parquet file was complete."""
    log = log_path(folder, 1).read_bytes()
    list(seal(folder))
    log_path(folder, 1).write_bytes(log)
    sealed_path(folder, 1).with_suffix(".parquet.tmp").write_bytes(b"half")

    assert [1] == list(seal(folder))
    assert ["000001.parquet", "000002.parquet"] == sorted(os.listdir(folder))[:2]


def test_a_log_goes_once_its_parquet_file_is_on_disk(folder: Path) -> None:
    """With its name, in this order: a power loss leaves one of both."""
    disk = Disk()
    next(seal(folder, disk))
    done = [operation for operation in disk.operations if operation != ("remove", "000001.parquet.tmp")]

    assert [
        ("open", "000001.parquet.tmp"), ("sync", "000001.parquet.tmp"), ("close", "000001.parquet.tmp"),
        ("rename", "000001.parquet"), ("sync_folder", ""), ("remove", "000001.log"),
    ] == done  # fmt: skip


@pytest.mark.parametrize("operation", ["sync", "rename", "sync_folder"])
def test_a_log_stays_when_its_parquet_file_may_not_be_on_disk(folder: Path, operation: str) -> None:
    """Whatever fails before."""

    def fails(done: str, name: str) -> None:
        if done == operation:
            raise OSError(EIO, "Input/output error")

    with pytest.raises(LogError, match="Input/output error"):
        list(seal(folder, Disk(fails)))
    assert log_path(folder, 1).exists()
    assert [] == list(folder.glob("*.tmp"))


def test_a_sealed_segment_is_as_old_as_its_log(folder: Path) -> None:
    """Or retention would keep it for longer than it may."""
    os.utime(log_path(folder, 1), (1_000, 2_000))
    list(seal(folder))

    assert 2_000.0 == stock(folder)[0].changed_s


def test_two_never_seal_at_once(folder: Path) -> None:
    """The second one is refused, as long as the first is at it."""
    running = seal(folder)
    next(running)

    with pytest.raises(AlreadySealing):
        next(seal(folder))
    assert [2] == list(running)
    assert [] == list(seal(folder))


def test_a_folder_that_cannot_be_written_is_an_error(folder: Path) -> None:
    """Of the operator's."""
    (folder / "seal.lock").mkdir()

    with pytest.raises(LogError, match="cannot be sealed: Is a directory"):
        list(seal(folder))


def test_only_the_owner_reads_a_sealed_segment(folder: Path) -> None:
    """As it is with a log."""
    list(seal(folder))

    assert 0o600 == sealed_path(folder, 1).stat().st_mode & 0o777


def test_other_tools_can_query_the_columns(folder: Path) -> None:
    """Without knowing what a record looks like."""
    list(seal(folder))
    rows: list[dict[str, Any]] = pq.read_table(sealed_path(folder, 1)).to_pylist()

    assert ["segment", *["verdict"] * 6, "end"] == [row["kind"] for row in rows]
    assert {
        "kind": "verdict",
        "time_unix_ns": BEGUN_NS + 3 * 10**9,
        "verdict_id": verdict_id(3),
        "caller": "caller-1",
        "rpc": "Screen",
        "decision": "WITHHOLD",
        "reason": "HARMFUL",
        "profile": "",
        "policy": "sha256:p",
        "bundle": "sha256:b",
        "categories": ["harm"],
    } == {name: value for name, value in rows[3].items() if name not in ("digest", "record")}


@given(data=st.data())
def test_a_flipped_byte_in_a_sealed_segment_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever it is in the file, and before any decoder sees it: some make the process end."""
    folder = tmp_path_factory.mktemp("flipped")
    write_log(folder, verdicts(4), [])
    list(seal(folder))
    path = sealed_path(folder, 1)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    found = [line for unit in units(folder) if unit.segment == 1 for line in lines(unit)]
    assert [(Place(1, 1), "cannot be read")] == [(line.place, line.damage) for line in found]


@pytest.mark.parametrize("keep_bytes", [0, 7, 100, -1])
def test_a_sealed_segment_that_was_cut_is_found(folder: Path, keep_bytes: int) -> None:
    """As any other damage."""
    list(seal(folder))
    path = sealed_path(folder, 1)
    path.write_bytes(path.read_bytes()[:keep_bytes])

    assert ["cannot be read"] == [line.damage for line in lines(units(folder)[0])]
