"""Verification: a whole log has no problems, and every change that a chain can show is one, with its place."""

import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from interlock_server.audit import sealed
from interlock_server.audit.framing import log_path, sealed_path, texts_path, torn_path
from interlock_server.audit.keys import key_id
from interlock_server.audit.reader import Line, lines, units
from interlock_server.audit.record import SegmentEnd, decode
from interlock_server.audit.seal import seal
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit.verify import Report, verify
from nacl.public import PrivateKey

from audit.samples import BEGUN_NS, EVERY_TEXT, feedback, verdict, verdict_id, verdicts, write_log, write_segment

KEY = b"k" * 32


def problems(folder: Path, **options: Any) -> list[str]:
    return [str(problem) for problem in verify(folder, **options).problems]


def notes(folder: Path) -> list[str]:
    return [str(note) for note in verify(folder).notes]


@pytest.fixture
def digests(tmp_path: Path) -> list[bytes]:
    """Of a log of three segments with 4, 2 and 1 records: of 6, 4 and 2 lines."""
    return write_log(tmp_path, verdicts(4), [verdict(5), feedback(3)], [verdict(6)])


@pytest.mark.usefixtures("digests")
class TestLines:
    """What is wrong within segments, and between them."""

    def test_a_whole_log_has_no_problems(self, tmp_path: Path, digests: list[bytes]) -> None:
        """Sealed or not; its head is the digest of its last line."""
        before = verify(tmp_path)
        list(seal(tmp_path))

        assert ((), (), 3, 7) == (before.problems, before.notes, before.segments, before.records)
        assert digests[-1].hex() == before.head
        assert ("segment 1, line 1", "segment 3, line 2") == (str(before.first), str(before.last))
        assert before == verify(tmp_path)

    def test_a_changed_byte_is_named(self, tmp_path: Path) -> None:
        """By its line."""
        path = log_path(tmp_path, 2)
        path.write_bytes(path.read_bytes().replace(b'"FINE"', b'"HARM"'))

        assert ["segment 2, line 3: does not fit the chain"] == problems(tmp_path)

    def test_a_missing_segment_is_named(self, tmp_path: Path) -> None:
        """As one problem, not as many."""
        log_path(tmp_path, 2).unlink()

        assert ["segment 2: is missing"] == problems(tmp_path)

    def test_a_missing_beginning_is_named(self, tmp_path: Path) -> None:
        """Unless retention has taken it."""
        log_path(tmp_path, 1).unlink()
        log_path(tmp_path, 2).unlink()

        assert ["segment 1: is missing, and all up to segment 2"] == problems(tmp_path)

    def test_a_closed_segment_that_lost_its_last_line_is_found(self, tmp_path: Path) -> None:
        """The one behind it follows a line that is not there."""
        path = log_path(tmp_path, 1)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

        assert ["segment 2, line 1: does not follow segment 1"] == problems(tmp_path)

    def test_an_emptied_segment_is_found(self, tmp_path: Path) -> None:
        """Though nothing in it is wrong."""
        log_path(tmp_path, 2).write_bytes(b"")

        assert ["segment 2: is empty"] == problems(tmp_path)

    def test_a_segment_of_another_log_is_found(self, tmp_path: Path) -> None:
        """Whole as it may be."""
        write_segment(tmp_path, 2, verdicts(2))

        assert "segment 2, line 1: does not follow segment 1" in problems(tmp_path)

    def test_a_segment_under_another_number_is_found(self, tmp_path: Path) -> None:
        """It says which one it is."""
        log_path(tmp_path, 3).rename(log_path(tmp_path, 4))

        assert ["segment 3: is missing", "segment 4, line 1: says that it is segment 3"] == problems(tmp_path)

    def test_a_log_that_was_begun_anew_is_found(self, tmp_path: Path) -> None:
        """Only the first segment follows nothing."""
        for number in (1, 2):
            log_path(tmp_path, number).unlink()
        write_segment(tmp_path, 3, verdicts(2), retired_through=2)

        assert ["segment 3, line 1: is not the beginning of this log"] == problems(tmp_path)

    def test_an_end_that_counts_wrongly_is_found(self, tmp_path: Path, digests: list[bytes]) -> None:
        """The chain alone would not tell what the writer lost."""
        records = [*verdicts(1), SegmentEnd(time_unix_ns=BEGUN_NS, records=2), *verdicts(1)]
        write_segment(tmp_path, 4, records, digests[-1], ended=False)

        assert [
            "segment 4, line 3: says 2 records, but there are 1",
            "segment 4, line 4: comes after the end of its segment",
        ] == problems(tmp_path)

    def test_a_file_that_cannot_be_read_is_a_problem(self, tmp_path: Path) -> None:
        """Never an exception."""
        list(seal(tmp_path))
        sealed_path(tmp_path, 2).write_bytes(b"nonsense")

        assert ["segment 2, line 1: cannot be read"] == problems(tmp_path)

    def test_lines_put_behind_a_segment_are_found(self, tmp_path: Path) -> None:
        """They fit the chain, but no writer goes on after the end."""
        end = SegmentEnd(time_unix_ns=BEGUN_NS + 10**15, records=4)
        write_segment(tmp_path, 1, [*verdicts(4), end, verdict(7)], ended=False)

        assert ["segment 1, line 7: comes after the end of its segment"] == problems(tmp_path)

    def test_progress_is_told_by_size(self, tmp_path: Path) -> None:
        """Of every unit."""
        sizes: list[int] = []
        verify(tmp_path, advance=sizes.append)

        assert [log_path(tmp_path, number).stat().st_size for number in (1, 2, 3)] == sizes


@pytest.mark.usefixtures("digests")
class TestAnchor:
    """The digest of an earlier verification."""

    def test_a_log_that_grew_still_holds_it(self, tmp_path: Path, digests: list[bytes]) -> None:
        """Wherever it is."""
        for digest in (digests[0], digests[7], digests[-1]):
            assert [] == problems(tmp_path, anchor=digest)

    def test_a_log_that_was_cut_or_written_anew_does_not(self, tmp_path: Path, digests: list[bytes]) -> None:
        """Which only the anchor shows."""
        path = log_path(tmp_path, 3)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

        assert [] == problems(tmp_path)
        wrong = problems(tmp_path, anchor=digests[-1])
        assert ["segment 3, line 1: is the last line, and none has the digest of the anchor"] == wrong

    def test_what_retention_deleted_may_have_been_the_anchor(self, tmp_path: Path) -> None:
        """The first line that is left says what it follows."""
        last = write_segment(tmp_path, 1, verdicts(2))[-1]
        write_segment(tmp_path, 2, verdicts(1), last, retired_through=1)
        log_path(tmp_path, 1).unlink()
        log_path(tmp_path, 3).unlink()

        assert [] == problems(tmp_path, anchor=last)

    def test_a_segment_without_records_is_no_head(self, tmp_path: Path, digests: list[bytes]) -> None:
        """The server may begin it again."""
        write_segment(tmp_path, 4, [], digests[-1], ended=False)

        assert digests[-1].hex() == verify(tmp_path).head


class TestNotes:
    """What is no problem, but worth knowing."""

    def test_a_tail_that_nobody_was_promised(self, tmp_path: Path) -> None:
        """The next segment follows an earlier line: what is behind that, damaged or not, was never acknowledged."""
        digests = write_segment(tmp_path, 1, verdicts(4), ended=False)
        with log_path(tmp_path, 1).open("ab") as file:
            file.write(b"half a li")
        write_segment(tmp_path, 2, verdicts(1), digests[2])

        assert [] == problems(tmp_path)
        assert [
            "segment 1: was not closed in order",
            "segment 1, line 4: this and what follows, 3 lines, was never acknowledged",
        ] == notes(tmp_path)

    def test_damage_before_such_a_tail_is_a_problem(self, tmp_path: Path) -> None:
        """As everywhere."""
        digests = write_segment(tmp_path, 1, verdicts(4), ended=False)
        write_segment(tmp_path, 2, verdicts(1), digests[2])
        path = log_path(tmp_path, 1)
        path.write_bytes(path.read_bytes().replace(b'"caller-0"', b'"caller-2"', 1))

        assert ["segment 1, line 3: does not fit the chain"] == problems(tmp_path)

    def test_what_was_torn_and_set_aside(self, tmp_path: Path) -> None:
        """By size only."""
        write_log(tmp_path, verdicts(1), [])
        (tmp_path / "000001.torn").write_bytes(b"half")

        assert ["segment 1: 4 torn bytes behind it were set aside"] == notes(tmp_path)

    def test_a_record_that_was_set_aside(self, tmp_path: Path) -> None:
        """No crash leaves a whole one: this is a problem, whatever there is before it."""
        write_log(tmp_path, verdicts(1), [])
        line = log_path(tmp_path, 1).read_bytes().splitlines(keepends=True)[1]
        torn = torn_path(tmp_path, 1)

        torn.write_bytes(b"half\n" + line)
        size = torn.stat().st_size
        what = f"segment 1: {size} torn bytes behind it were set aside, and there is a record in them"
        assert ([what], []) == (problems(tmp_path), notes(tmp_path))
        torn.write_bytes(line[:-1])
        assert ([], 1) == (problems(tmp_path), len(notes(tmp_path)))

    def test_a_line_under_way(self, tmp_path: Path) -> None:
        """At the very end."""
        write_log(tmp_path, verdicts(2))
        path = log_path(tmp_path, 1)
        path.write_bytes(path.read_bytes()[:-1])

        assert ([], ["segment 1, line 3: is under way, or was cut short"]) == (problems(tmp_path), notes(tmp_path))

    def test_what_retention_deleted(self, tmp_path: Path) -> None:
        """As far as a segment that is left says so, and no farther."""
        write_segment(tmp_path, 4, verdicts(1), KEY, retired_through=2)
        write_segment(tmp_path, 5, [], verify(tmp_path).last and _last(tmp_path), retired_through=3)

        assert ([], ["segment 3: and those before it were deleted by retention"]) == (
            problems(tmp_path),
            notes(tmp_path),
        )
        log_path(tmp_path, 5).unlink()
        assert ["segment 3: is missing"] == problems(tmp_path)


def _last(folder: Path) -> bytes:
    return [line for unit in units(folder) for line in lines(unit)][-1].digest or b""


class TestTexts:
    """The texts that are kept."""

    PAIR = (b"a prompt", b"a completion")

    def keep(self, folder: Path, keeper: TextKeeper, **start: Any) -> Path:
        """A log with one of them, sealed."""
        write_log(folder, verdicts(2), [], texts={verdict_id(2): self.PAIR}, keeper=keeper, **start)
        list(seal(folder))
        return texts_path(folder, 1)

    def test_a_text_that_is_as_its_record_says_is_no_problem(self, tmp_path: Path) -> None:
        """With and without the key, whatever it was made with."""
        self.keep(tmp_path, TextKeeper(KEY, "full", EVERY_TEXT), key_id=key_id(KEY))

        assert ([], []) == (problems(tmp_path), problems(tmp_path, key=KEY))

    def test_a_text_that_is_gone_is_a_problem(self, tmp_path: Path) -> None:
        """Of the record that names it."""
        self.keep(tmp_path, TextKeeper(KEY, "full", EVERY_TEXT)).unlink()

        assert ["segment 1, line 3: its kept text is missing or is another one"] == problems(tmp_path)

    def test_a_changed_text_shows_with_the_key(self, tmp_path: Path) -> None:
        """It is not in the chain; its hash is."""
        path = self.keep(tmp_path, TextKeeper(KEY, "full", EVERY_TEXT), key_id=key_id(KEY))
        path.write_bytes(path.read_bytes().replace(b"completion", b"conclusion"))

        assert [] == problems(tmp_path)
        assert ["segment 1, line 3: its kept text has another hash"] == problems(tmp_path, key=KEY)

    def test_a_changed_text_shows_when_it_is_encrypted(self, tmp_path: Path) -> None:
        """To whoever has the private key."""
        private_key = PrivateKey.generate()
        path = self.keep(tmp_path, TextKeeper.sealing(KEY, bytes(private_key.public_key), EVERY_TEXT))
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))

        assert [] == problems(tmp_path, key=KEY)
        assert 1 == len(problems(tmp_path, key=KEY, private_key=bytes(private_key)))

    def test_another_key_compares_nothing(self, tmp_path: Path) -> None:
        """Which is worth a note."""
        self.keep(tmp_path, TextKeeper(KEY, "full", EVERY_TEXT), key_id=key_id(KEY))
        report = verify(tmp_path, key=b"o" * 32)

        assert () == report.problems
        assert "made with another key" in str(report.notes[0])


class TestColumns:
    """What other tools read of a sealed segment."""

    def rewrite(self, folder: Path, change: Any) -> Report:
        """Verifies a log whose first segment was sealed with other rows, by somebody who knows how."""
        write_log(folder, verdicts(4), [verdict(5)])
        read = list(lines(units(folder)[0]))
        log_path(folder, 1).unlink()
        with sealed_path(folder, 1).open("w+b") as file:
            sealed.write(file, 1, change(read))
        return verify(folder)

    def test_a_column_that_was_changed_is_named(self, tmp_path: Path) -> None:
        """Though the chain does not cover it."""

        def change(read: list[Line]) -> Iterator[sealed.Rows]:
            rows = _rows(read)
            rows.columns["decision"][3] = "RELEASE"
            yield rows

        report = self.rewrite(tmp_path, change)
        assert ["segment 1, line 4: has columns that do not follow from its record"] == list(map(str, report.problems))

    def test_a_group_that_lost_its_last_row_is_found(self, tmp_path: Path) -> None:
        """Though each group is a chain, the next one follows another line."""
        report = self.rewrite(tmp_path, lambda read: iter([_rows(read[:3]), _rows(read[3:])]))
        assert () == report.problems

        report = self.rewrite(tmp_path / "cut", lambda read: iter([_rows(read[:3], CutRows()), _rows(read[3:])]))
        assert "segment 1, line 3: does not fit the chain" == str(report.problems[0])

    def test_times_that_were_changed_in_the_footer_are_found(self, tmp_path: Path) -> None:
        """By them replay chooses what it reads."""
        write_log(tmp_path, verdicts(4), [])
        list(seal(tmp_path))
        path = sealed_path(tmp_path, 1)
        content = path.read_bytes()
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        footer = content[start:].replace(struct.pack("<q", BEGUN_NS), struct.pack("<q", BEGUN_NS + 1))
        path.write_bytes(content[: start - 32] + sha256(footer).digest() + footer)

        assert ["segment 1, line 1: has statistics that do not follow from the records"] == problems(tmp_path)


class CutRows(sealed.Rows):
    """Of which the last one is lost."""

    def table(self) -> Any:
        return super().table().slice(0, len(self) - 1)


def _rows(read: list[Line], rows: sealed.Rows | None = None) -> sealed.Rows:
    rows = sealed.Rows() if rows is None else rows
    for line in read:
        rows.add(line.digest or b"", line.record, decode(line.record))
    return rows
