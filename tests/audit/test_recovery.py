"""Opening a log again: wherever it was cut exactly the whole lines before that are kept, and no damage takes a record away."""

from collections.abc import Iterator
from errno import EIO
from itertools import accumulate
from pathlib import Path

import pytest
from interlock_server.audit import recovery
from interlock_server.audit.framing import chained, framed, log_path, sealed_path, texts_path, torn_path
from interlock_server.audit.record import SegmentStart, encode
from interlock_server.audit.seal import seal
from interlock_server.audit.segment import Tip
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit.verify import verify
from nacl.public import PrivateKey

from .disk import Bench, Disk, entry, nothing, numbers, shape, stored
from .samples import EVERY_TEXT, verdict_id, verdicts, write_log, write_segment

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


def test_whatever_byte_is_changed_the_lines_behind_it_stay(folder: Path):
    """Whether it is in a digest, in a record or between them: all lines but the last, of which nobody can tell it from a tear."""
    path = log_path(folder, 2)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    newlines = {place for place, byte in enumerate(content) if byte == ord("\n")}
    for place in set(range(last)) - newlines:
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        path.write_bytes(changed)
        tip = recover(folder)

        assert (3, digest(content[last:])) == (tip.number, tip.previous)
        assert changed == path.read_bytes()


def test_a_change_in_the_last_line_takes_only_that_away(folder: Path):
    """It is set aside."""
    path, torn = log_path(folder, 2), torn_path(folder, 2)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for place in range(last, len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        path.write_bytes(changed)
        recover(folder)

        assert content[:last] == path.read_bytes()
        assert changed[last:] == torn.read_bytes()
        torn.unlink()


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_flipped_byte_is_named_after_the_log_was_opened_again(folder: Path, line: int):
    """The others are all still there, and what is written then follows the last of them."""
    path = log_path(folder, 2)
    whole = path.read_bytes().splitlines(keepends=True)
    at = sum(map(len, whole[: line - 1])) + len(whole[line - 1]) - 10
    content = b"".join(whole)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    writer = Bench(folder).open()
    writer.write([entry(9)])
    writer.close()
    report = verify(folder)

    assert [f"segment 2, line {line}: does not fit the chain"] == [str(problem) for problem in report.problems]
    assert ["segment 2: was not closed in order"] == [str(note) for note in report.notes]
    assert report.records == (9 if line == 1 else 8)


def test_two_lines_that_became_one_take_no_other_away(folder: Path):
    """As many as one byte can damage: the one behind them has nothing that it follows."""
    path = log_path(folder, 2)
    changed = path.read_bytes().replace(b"\n", b"\x0b", 1)
    path.write_bytes(changed)
    last = write_more(path)
    tip = recover(folder)

    assert (3, last) == (tip.number, tip.previous)
    assert path.read_bytes().startswith(changed)


def write_more(path: Path) -> bytes:
    """One more line; its digest."""
    content = encode(verdicts(1, first=9)[0])
    previous = chained(digest(path.read_bytes().splitlines()[-1]), content)
    with path.open("ab") as file:
        file.write(framed(previous, content))
    return previous


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


def test_a_segment_of_which_nothing_is_left_is_kept_beside(folder: Path):
    """With its texts; the log goes on behind the one before."""
    log_path(folder, 2).write_bytes(b"nonsense\n" * 5)
    texts_path(folder, 2).write_bytes(b"texts")
    tip = recover(folder)

    assert (3, digest(log_path(folder, 1).read_bytes().splitlines()[-1])) == (tip.number, tip.previous)
    assert (b"nonsense\n" * 5, b"texts") == (torn_path(folder, 2).read_bytes(), texts_path(folder, 2).read_bytes())


@pytest.mark.parametrize("ended", [True, False])
def test_what_was_retired_stays_known_when_a_first_line_is_damaged(tmp_path: Path, ended: bool):
    """The segment before says it; or it is the only one, and nothing is known."""
    last = write_log(tmp_path, verdicts(2), verdicts(2, first=3), ended=ended, retired_through=7)[-1]
    path = log_path(tmp_path, 2)
    path.write_bytes(path.read_bytes().replace(b'"segment"', b'"sediment"'))

    assert Tip(3, last, 7) == recover(tmp_path)
    log_path(tmp_path, 1).unlink()
    assert Tip(3, last) == recover(tmp_path)


@pytest.mark.parametrize("text", ["full", "encrypted"])
def test_texts_that_no_record_names_are_cut_off(tmp_path: Path, text: str):
    """The process was killed between the text and its line; nobody could have it erased. The others stay."""
    key = bytes(PrivateKey.generate().public_key)
    keeper = TextKeeper.sealing(b"k", key, EVERY_TEXT) if text == "encrypted" else TextKeeper(b"k", "full", EVERY_TEXT)
    write_log(tmp_path, verdicts(3), texts={verdict_id(n): (b"prompt", b"c" * n) for n in (1, 2, 3)}, keeper=keeper)
    log, texts = log_path(tmp_path, 1), texts_path(tmp_path, 1)
    kept = texts.read_bytes()
    recover(tmp_path)
    assert kept == texts.read_bytes()

    log.write_bytes(log.read_bytes()[:-5])
    recover(tmp_path)
    third = keeper.trace(verdict_id(3), b"prompt", b"ccc", "RELEASE", 0)[1]
    assert kept[: -len(third)] == texts.read_bytes()
    assert () == verify(tmp_path).problems


def test_texts_behind_damage_stay(tmp_path: Path):
    """Records name them."""
    write_log(tmp_path, verdicts(3), texts={verdict_id(n): (b"prompt", b"completion") for n in (1, 2, 3)})
    kept = texts_path(tmp_path, 1).read_bytes()
    log_path(tmp_path, 1).write_bytes(log_path(tmp_path, 1).read_bytes().replace(b"Screen", b"Scream", 1))
    recover(tmp_path)

    assert kept == texts_path(tmp_path, 1).read_bytes()


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
