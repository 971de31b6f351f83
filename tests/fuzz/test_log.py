"""Audit segments with something wrong in them: every line is a record or damage, and no damage is taken for the truth."""

from pathlib import Path

import pytest
from audit.samples import verdict_id, verdicts, write_segment
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.audit.framing import log_path, sealed_path
from interlock_server.audit.reader import Damage, entries, units
from interlock_server.audit.record import VerdictRecord
from interlock_server.audit.seal import seal
from interlock_server.audit.verify import verify
from interlock_server.errors import InterlockError

from .hostile import GROWTH_MAX_MB, damaged, fuzzed, memory_peak_mb

COUNT = 6


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A log of one segment, with its bytes."""
    folder = tmp_path_factory.mktemp("log")
    write_segment(folder, 1, verdicts(COUNT))
    return folder, log_path(folder, 1).read_bytes()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The same, closed and sealed."""
    folder = tmp_path_factory.mktemp("sealed")
    write_sealed(folder)
    return folder, sealed_path(folder, 1).read_bytes()


def write_sealed(folder: Path) -> None:
    """A log that is Parquet: of two segments, only the first is; the second, by which it is known as closed, goes away."""
    digests = write_segment(folder, 1, verdicts(COUNT))
    write_segment(folder, 2, [], digests[-1])
    assert [1] == list(seal(folder))
    log_path(folder, 2).unlink()


def read(folder: Path) -> list[VerdictRecord | Damage]:
    """Its verdicts, and what is wrong; a folder that is no log has neither."""
    try:
        found = [entry if isinstance(entry, Damage) else entry[1] for unit in units(folder) for entry in entries(unit)]
    except InterlockError:
        return []
    return [entry for entry in found if isinstance(entry, VerdictRecord | Damage)]


@fuzzed
@given(data=st.data())
def test_a_damaged_log_is_read_around_its_damage(log: tuple[Path, bytes], data: st.DataObject):
    """What is read as a verdict is one of those that were written, as it was written."""
    folder, original = log
    content = data.draw(damaged([original]))
    log_path(folder, 1).write_bytes(content)
    before_mb = memory_peak_mb()
    found = read(folder)
    report = verify(folder)
    written = {record.verdict_id: record for record in verdicts(COUNT)}
    assert all(isinstance(entry, Damage) or entry == written.get(entry.verdict_id) for entry in found)
    if content != original and not content.startswith(original):
        assert report.problems or report.notes
    assert memory_peak_mb() < before_mb + GROWTH_MAX_MB


@fuzzed
@given(data=st.data())
def test_a_damaged_parquet_file_is_read_or_is_damage(parquet: tuple[Path, bytes], data: st.DataObject):
    """A library of another language reads it; it must not take us down."""
    folder, original = parquet
    sealed_path(folder, 1).write_bytes(data.draw(damaged([original])))
    before_mb = memory_peak_mb()
    found = read(folder)

    known = {verdict_id(number) for number in range(1, COUNT + 1)}
    assert all(isinstance(entry, Damage) or entry.verdict_id in known for entry in found)
    assert memory_peak_mb() < before_mb + GROWTH_MAX_MB


@pytest.mark.parametrize("sealed", [False, True])
def test_both_are_whole_before_they_are_damaged(tmp_path: Path, sealed: bool):
    """Otherwise nothing would be tested."""
    if sealed:
        write_sealed(tmp_path)
    else:
        write_segment(tmp_path, 1, verdicts(COUNT))

    assert verdicts(COUNT) == read(tmp_path)
