from audit.samples import verdict, verdict_id, write_log
from interlock_lab.mine.candidates import find
from interlock_server.audit.framing import log_path
from interlock_server.audit.record import StreamTrace

from .samples import HASHER, found_in, groups_in, log_of, text


def streamed(number: int, stream: str, whole: bool = False, **changes):
    return verdict(number, stream=StreamTrace(stream_id=stream, start=0, end=9, whole=whole), **changes)


def test_texts_that_have_nothing_in_common_are_apart(tmp_path):
    """Each is a group."""
    assert [[1], [2], [3]] == groups_in(tmp_path, verdict(1), verdict(2), verdict(3))


def test_a_conversation_is_a_caller_with_a_prompt(tmp_path):
    """Another caller with the same prompt is another one; no prompt at all is none."""
    same = {number: (b"the same prompt", text(number)) for number in (1, 2, 3)}
    none = {number: (b"", text(number)) for number in (4, 6)}

    assert [[1, 3], [2], [4], [6]] == groups_in(tmp_path, *map(verdict, (1, 2, 3, 4, 6)), texts=same | none)


def test_of_a_stream_the_last_verdict_counts(tmp_path):
    """The parts before it were judged on less."""
    found = found_in(tmp_path, streamed(1, "a"), streamed(2, "b"), streamed(3, "a", whole=True))

    assert [verdict_id(2), verdict_id(3)] == sorted(one.record.verdict_id for one in found.candidates)


def test_what_was_answered_stands_behind_what_was_not(tmp_path):
    """A second record under the same id takes the place of the first."""
    late = verdict(1, caller="the second")
    found = found_in(tmp_path, verdict(1), late)

    assert ["the second"] == [one.record.caller for one in found.candidates]


def test_kept_texts_that_are_nearly_the_same_are_one(tmp_path):
    """Case and a word make no difference."""
    near = text(1).upper() + b" brook"

    assert [[1, 2], [3]] == groups_in(tmp_path, *map(verdict, (1, 2, 3)), texts={2: (b"prompt 2", near)})


def test_texts_that_are_not_kept_are_compared_by_their_hashes(tmp_path):
    """Only equal ones can be told then."""
    texts = {2: (b"prompt 2", text(1)), 3: (b"prompt 3", text(1) + b".")}

    assert [[1, 2], [3]] == groups_in(tmp_path, *map(verdict, (1, 2, 3)), texts=texts, keeper=HASHER)


def test_short_texts_are_equal_by_chance(tmp_path):
    """They are one only as answers to the same prompt."""
    texts = {1: (b"Is it?", b"Yes."), 2: (b"Is it?", b"Yes."), 3: (b"Shall I?", b"Yes.")}

    assert [[1, 2], [3]] == groups_in(tmp_path, *map(verdict, (1, 2, 3)), texts=texts)


def test_of_too_many_a_known_share_is_taken(tmp_path):
    """Nobody knows beforehand how many there are."""
    found = found_in(tmp_path, *map(verdict, range(1, 201)), limit=60)

    assert 0.25 == found.share
    assert 30 <= len(found.candidates) <= 60


def test_damaged_lines_are_passed_over_and_counted(tmp_path):
    """The rest is read."""
    path = log_path(log_of(tmp_path, verdict(1), verdict(2)), 1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"caller-1"', b'"caller-7"'))
    found = find([tmp_path], None, "", lambda size_bytes: None)

    assert (1, [verdict_id(2)]) == (found.damaged, [one.record.verdict_id for one in found.candidates])


def test_a_newer_format_is_not_guessed_at(tmp_path):
    """Its verdicts are counted and passed over."""
    write_log(tmp_path, [verdict(1)], format=99)
    found = find([tmp_path], None, "", lambda size_bytes: None)

    assert (1, []) == (found.newer, found.candidates)
