"""Erasing: the text is gone from the disk, and nothing else has changed."""

from pathlib import Path

import pytest
from interlock_server.audit.erase import Found, erase, find
from interlock_server.audit.framing import TEXT_HEAD_SIZE, log_path, packed, texts_path
from interlock_server.audit.reader import LogError, Place, TextGone, Texts
from interlock_server.audit.record import StreamTrace, VerdictRecord
from interlock_server.audit.seal import seal
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit.verify import verify
from nacl.public import PrivateKey

from audit.samples import EVERY_TEXT, feedback, verdict, verdict_id, verdicts, write_log

FIRST, SECOND = verdict_id(2), verdict_id(3)
TEXTS = {FIRST: (b"first prompt", b"first completion"), SECOND: (b"second prompt", b"second completion")}
PRIVATE_KEY = PrivateKey(bytes(range(32)))


@pytest.fixture(params=["full", "encrypted"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two texts are kept, in the first of two segments."""
    full = TextKeeper(b"k" * 32, "full", EVERY_TEXT)
    encrypted = TextKeeper.sealing(b"k" * 32, bytes(PRIVATE_KEY.public_key), EVERY_TEXT)
    keeper = full if request.param == "full" else encrypted
    write_log(tmp_path, verdicts(4), [feedback(2), verdict(9)], texts=TEXTS, keeper=keeper)
    return tmp_path


def text(folder: Path, wanted: str) -> tuple[bytes, bytes] | TextGone:
    [item] = [found for found in find(folder, [wanted]) if isinstance(found.record, VerdictRecord)]
    assert isinstance(item.record, VerdictRecord)
    return Texts(folder, bytes(PRIVATE_KEY)).of(item.place.segment, item.record)


def test_an_erased_text_is_gone(folder: Path) -> None:
    """Every byte of it; the other one stays."""
    size = texts_path(folder, 1).stat().st_size
    erase(folder, [FIRST])

    assert (TextGone.ERASED, TEXTS[SECOND]) == (text(folder, FIRST), text(folder, SECOND))
    content = texts_path(folder, 1).read_bytes()
    assert size == len(content)
    assert b"first" not in content


def test_the_log_stays_whole(folder: Path) -> None:
    """Sealed or not."""
    log = log_path(folder, 1).read_bytes()
    erase(folder, [FIRST])
    assert log == log_path(folder, 1).read_bytes()
    list(seal(folder))
    erase(folder, [SECOND])

    assert () == verify(folder, key=b"k" * 32, private_key=bytes(PRIVATE_KEY)).problems


def test_parts_of_a_stream_go_together(tmp_path: Path) -> None:
    """They overlap: one that stayed would show what was in the other."""
    trace = StreamTrace(stream_id="01234567-89ab-cdef-0123-456789abcdef", start=0, end=9)
    keeper = TextKeeper(b"k" * 32, "full", EVERY_TEXT)
    write_log(tmp_path, [verdict(2, stream=trace), verdict(3, stream=trace)], texts=TEXTS, keeper=keeper)
    erase(tmp_path, [SECOND])

    assert [TextGone.ERASED] * 2 == [text(tmp_path, FIRST), text(tmp_path, SECOND)]


def test_erasing_twice_is_no_error(folder: Path) -> None:
    """Whoever must erase must be able to repeat it."""
    erase(folder, [FIRST])
    erase(folder, [FIRST, SECOND])

    assert TextGone.ERASED == text(folder, SECOND)


@pytest.mark.parametrize("unknown", [verdict_id(1), verdict_id(77), "", "caller-1"])
def test_what_is_not_kept_cannot_be_erased(folder: Path, unknown: str) -> None:
    """Nor anything that was asked for with it."""
    with pytest.raises(LogError, match="no text is kept"):
        erase(folder, [FIRST, unknown])

    assert TEXTS[FIRST] == text(folder, FIRST)


def test_another_text_is_never_overwritten(folder: Path) -> None:
    """Where the file does not hold what a record says, nothing is erased."""
    path = texts_path(folder, 1)
    changed = path.read_bytes().replace(SECOND.encode(), verdict_id(9).encode())
    path.write_bytes(changed)

    with pytest.raises(LogError, match="segment 1, line 4: its kept text cannot be erased"):
        erase(folder, [FIRST, SECOND])
    assert changed == path.read_bytes()


def test_an_interrupted_erasure_is_damage_until_it_is_repeated(tmp_path: Path) -> None:
    """The content goes before it is marked, so that what is marked is gone."""
    write_log(tmp_path, verdicts(4), [], texts=TEXTS)
    path = texts_path(tmp_path, 1)
    content = path.read_bytes()
    size = len(packed(*TEXTS[FIRST]))
    path.write_bytes(content[:TEXT_HEAD_SIZE] + bytes(size) + content[TEXT_HEAD_SIZE + size :])

    assert TextGone.DAMAGED == text(tmp_path, FIRST)
    erase(tmp_path, [FIRST])
    assert TextGone.ERASED == text(tmp_path, FIRST)


def test_what_is_marked_as_erased_must_be(tmp_path: Path) -> None:
    """Or somebody only says so."""
    write_log(tmp_path, verdicts(4), [], texts=TEXTS)
    path = texts_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[36] = 0
    path.write_bytes(content)

    assert TextGone.DAMAGED == text(tmp_path, FIRST)


def test_a_verdict_is_found_with_its_feedback(folder: Path) -> None:
    """In the order of the log, and nothing that only looks like it."""
    verdict_found, feedback_found = find(folder, [FIRST])

    assert (Place(1, 3), FIRST) == (verdict_found.place, verdict_found.record.verdict_id)
    assert Found(Place(2, 2), feedback(2)) == feedback_found
    assert [] == list(find(folder, ["Screen", "{", "0"]))
