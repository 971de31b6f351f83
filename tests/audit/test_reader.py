"""Reading: everything that was written comes back in order, and whatever was changed is named by its place."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.audit.framing import chained, framed, log_path, sealed_path, texts_path
from interlock_server.audit.reader import (
    CUT_SHORT,
    LINE_SIZE_MAX,
    MISFIT,
    NO_LINE,
    NO_RECORD,
    TOO_LONG,
    UNREADABLE,
    Damage,
    LogError,
    Place,
    TextGone,
    Texts,
    entries,
    record_bytes,
    time_range,
    units,
)
from interlock_server.audit.record import Record, VerdictRecord
from interlock_server.audit.seal import seal
from interlock_server.audit.texts import TextKeeper
from nacl.public import PrivateKey

from audit.samples import BEGUN_NS, EVERY_TEXT, feedback, verdict, verdict_id, verdicts, write_log, write_segment

Lines = list[bytes]


def everything(folder: Path) -> list[tuple[Place, Record] | Damage]:
    return [entry for unit in units(folder) for entry in entries(unit)]


def damages(folder: Path) -> list[Damage]:
    return [entry for entry in everything(folder) if isinstance(entry, Damage)]


def change(folder: Path, how: Callable[[Lines], Lines], segment: int = 1) -> list[Damage]:
    """The damages once the lines of a segment were changed."""
    path = log_path(folder, segment)
    path.write_bytes(b"".join(how(path.read_bytes().splitlines(keepends=True))))
    return damages(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_log(tmp_path / "log", verdicts(5), [feedback(3), verdict(6)])
    return tmp_path / "log"


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More lines than one group of rows takes, sealed."""
    folder = tmp_path_factory.mktemp("long")
    write_log(folder, [feedback(number) for number in range(9000)], [feedback(1)])
    assert [1] == list(seal(folder))
    return folder


def test_everything_comes_back_in_order(folder: Path) -> None:
    """With its place, the first and last lines of segments included."""
    found = [entry for entry in everything(folder) if not isinstance(entry, Damage)]

    assert [Place(1, line) for line in range(1, 8)] + [Place(2, line) for line in range(1, 4)] == [p for p, _ in found]
    assert [*verdicts(5), feedback(3), verdict(6)] == [r for _, r in found if hasattr(r, "verdict_id")]


def test_bytes_come_back_as_they_were_written(folder: Path) -> None:
    """For those who need no records."""
    contents = [line[65:-1] for line in log_path(folder, 1).read_bytes().splitlines(keepends=True)]

    assert contents == [entry[1] for entry in record_bytes(units(folder)[0]) if not isinstance(entry, Damage)]


@given(data=st.data())
def test_a_flipped_byte_is_one_damage_in_its_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever it is in a closed segment; more than one only where a newline was made or lost."""
    folder = tmp_path_factory.mktemp("flipped")
    write_log(folder, verdicts(4), [verdict(5)])
    path = log_path(folder, 1)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    old = content[place]
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    found = [damage.place for damage in damages(folder)]

    assert Place(1, content[:place].count(b"\n") + 1) == found[0]
    assert len(found) == 1 or ord("\n") in (old, content[place])


def test_a_removed_line_is_missed_by_the_next(folder: Path) -> None:
    """That one follows nothing that is there; those behind it are whole."""
    assert [Damage(Place(1, 3), MISFIT)] == change(folder, lambda lines: lines[:2] + lines[3:])


def test_swapped_lines_are_found(folder: Path) -> None:
    """Both of them, and the one behind."""
    found = change(folder, lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]])

    assert [Damage(Place(1, line), MISFIT) for line in (3, 4, 5)] == found


def test_a_removed_first_line_is_found(folder: Path) -> None:
    """Nothing says any more what the segment follows."""
    assert Damage(Place(1, 1), MISFIT) == change(folder, lambda lines: lines[1:])[0]


def test_a_line_put_in_is_one_damage(folder: Path) -> None:
    """What is around it still fits."""
    found = change(folder, lambda lines: [*lines[:2], b"not a line\n", *lines[2:]])

    assert [Damage(Place(1, 3), NO_LINE)] == found


def test_a_digest_in_capitals_is_no_digest(folder: Path) -> None:
    """A log has one form, to the byte."""
    found = change(folder, lambda lines: [lines[0], lines[1][:64].upper() + lines[1][64:], *lines[2:]])

    assert [Damage(Place(1, 2), NO_LINE)] == found


def test_what_fits_the_chain_but_is_no_record_is_damage(tmp_path: Path) -> None:
    """As when a later version wrote it."""
    digests = write_segment(tmp_path, 1, verdicts(1), ended=False)
    content = b'{"type":"novel"}'
    with log_path(tmp_path, 1).open("ab") as file:
        file.write(framed(chained(digests[-1], content), content))

    assert [Damage(Place(1, 3), NO_RECORD)] == damages(tmp_path)


def test_half_a_line_at_the_end_of_the_log_is_under_way(folder: Path) -> None:
    """Its writer has not finished it."""
    path = log_path(folder, 2)
    path.write_bytes(path.read_bytes()[:-10])

    assert [] == damages(folder)
    assert Place(2, 2) == everything(folder)[-1][0]  # type: ignore[index]


def test_half_a_line_at_the_end_of_another_segment_is_damage(folder: Path) -> None:
    """Nobody writes it any more."""
    assert [Damage(Place(1, 7), CUT_SHORT)] == change(folder, lambda lines: [*lines[:-1], lines[-1][:-10]])


def test_a_line_without_end_costs_no_memory(folder: Path) -> None:
    """Reading goes on behind it."""
    endless = b"x" * (LINE_SIZE_MAX + 1) + b"\n"

    assert [Damage(Place(1, 3), TOO_LONG)] == change(folder, lambda lines: [*lines[:2], endless, *lines[2:]])


def test_a_sealed_segment_reads_like_its_log(folder: Path) -> None:
    """Record by record."""
    before = everything(folder)

    assert [1] == list(seal(folder))
    assert before == everything(folder)


def test_a_segment_that_is_sealed_meanwhile_is_still_read(folder: Path) -> None:
    """A unit outlives its file."""
    before, unit = everything(folder), units(folder)[0]
    list(seal(folder))

    assert before[:7] == list(entries(unit))


def test_a_log_is_read_while_its_parquet_file_cannot_be(folder: Path) -> None:
    """Sealing may have been interrupted."""
    sealed_path(folder, 1).write_bytes(b"PAR1")

    assert [] == damages(folder)


def test_a_parquet_file_that_cannot_be_read_is_damage(folder: Path) -> None:
    """And what is behind it is read."""
    log_path(folder, 1).unlink()
    sealed_path(folder, 1).write_bytes(b"PAR1")

    assert [Damage(Place(1, 1), UNREADABLE)] == damages(folder)
    assert 4 == len(everything(folder))


def test_a_group_of_rows_is_read_by_itself(long: Path) -> None:
    """A worker needs nothing of what is before it."""
    first, second, _ = units(long)
    second = pickle.loads(pickle.dumps(second))
    found = [entry for entry in entries(second) if not isinstance(entry, Damage)]

    assert 9002 - 8192 == len(found)
    assert (Place(1, 8193), feedback(8191)) == found[0]
    assert 8193 == second.first_line
    assert 9002 == len([*entries(first), *entries(second)])


def test_a_damaged_group_leaves_the_others(long: Path, tmp_path: Path) -> None:
    """What can be read is read."""
    content = bytearray(sealed_path(long, 1).read_bytes())
    content[100] ^= 1
    sealed_path(tmp_path, 1).write_bytes(content)

    found = everything(tmp_path)
    assert Damage(Place(1, 1), UNREADABLE) == found[0]
    assert 1 + 9002 - 8192 == len(found)


def test_a_sealed_unit_knows_its_time(folder: Path) -> None:
    """So that it need not be read; a log does not know."""
    unit = units(folder)[0]
    assert time_range(unit) is None

    list(seal(folder))
    assert (BEGUN_NS, BEGUN_NS + 10**15) == time_range(units(folder)[0])


@pytest.mark.parametrize("names", [[], ["notes.txt", "1.log", "000001.texts"]])
def test_another_folder_is_no_log(tmp_path: Path, names: list[str]) -> None:
    """Whoever asks learns it."""
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(LogError, match="is no audit log"):
        units(tmp_path)


def test_a_folder_that_is_not_there_is_no_log(tmp_path: Path) -> None:
    """Said with the system's words."""
    with pytest.raises(LogError, match="No such file"):
        units(tmp_path / "nowhere")


KEY = PrivateKey(bytes(range(32)))
PAIR = (b"a prompt", b"a completion \xff")


def kept(folder: Path, keeper: TextKeeper) -> VerdictRecord:
    """The second verdict of a log that keeps the texts of both."""
    write_log(folder, verdicts(2), texts={verdict_id(1): (b"", b"other"), verdict_id(2): PAIR}, keeper=keeper)
    return next(r for r in _records(folder) if isinstance(r, VerdictRecord) and r.verdict_id == verdict_id(2))


def _records(folder: Path) -> Iterator[Record]:
    return (entry[1] for entry in everything(folder) if not isinstance(entry, Damage))


@pytest.fixture
def sealing() -> TextKeeper:
    return TextKeeper.sealing(b"k" * 32, bytes(KEY.public_key), EVERY_TEXT)


def test_a_kept_text_comes_back(tmp_path: Path) -> None:
    """Prompt and completion, to the byte."""
    record = kept(tmp_path, TextKeeper(kept="full", shares=EVERY_TEXT))

    assert PAIR == Texts(tmp_path).of(1, record)


def test_an_encrypted_text_needs_its_key(tmp_path: Path, sealing: TextKeeper) -> None:
    """Without one, or with another, it stays closed."""
    record = kept(tmp_path, sealing)

    assert PAIR == Texts(tmp_path, bytes(KEY)).of(1, record)
    assert TextGone.ENCRYPTED == Texts(tmp_path).of(1, record)
    assert TextGone.DAMAGED == Texts(tmp_path, bytes(32)).of(1, record)


def test_a_text_that_was_not_kept_is_not_there(tmp_path: Path) -> None:
    """A value, not an error."""
    assert TextGone.NOT_KEPT == Texts(tmp_path).of(1, verdict(1))


@pytest.mark.parametrize("keep_bytes", [0, 10, 60, -1])
def test_a_text_that_was_cut_is_damaged(tmp_path: Path, keep_bytes: int) -> None:
    """Wherever that was."""
    record = kept(tmp_path, TextKeeper(kept="full", shares=EVERY_TEXT))
    path = texts_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:keep_bytes])

    assert TextGone.DAMAGED == Texts(tmp_path).of(1, record)


@pytest.mark.parametrize(("offset", "mask"), [(0, 1), (36, 1), (36, 2), (36, 3), (40, 1), (44, 1)])
def test_a_frame_that_does_not_fit_its_record_is_damaged(tmp_path: Path, offset: int, mask: int) -> None:
    """By its id, kind, size or how it is divided."""
    record = kept(tmp_path, TextKeeper(kept="full", shares=EVERY_TEXT))
    path = texts_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[(record.text.offset or 0) + offset] ^= mask
    path.write_bytes(content)

    assert TextGone.DAMAGED == Texts(tmp_path).of(1, record)


def test_a_texts_file_that_is_gone_is_damage(tmp_path: Path) -> None:
    """As one that was cut."""
    record = kept(tmp_path, TextKeeper(kept="full", shares=EVERY_TEXT))
    texts_path(tmp_path, 1).unlink()

    assert TextGone.DAMAGED == Texts(tmp_path).of(1, record)


def test_a_place_reads_as_a_person_says_it() -> None:
    """Line 0 is the whole segment."""
    assert "segment 3, line 57" == str(Place(3, 57))
    assert "segment 3" == str(Place(3, 0))
