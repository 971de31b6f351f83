import pickle
import random

import msgspec
import pytest
from audit.samples import feedback, verdict, verdicts
from interlock_lab.replay.tally import BUCKETS, At, Firsts, Tally, bucket

from .samples import LOOSER, STRICTER, part_of_stream, suspect, tally_of


def parts() -> list[Tally]:
    """Tallies of some segments, with something in every field."""
    found = []
    for segment in range(1, 9):
        records = [verdict(1), suspect(2), part_of_stream(4), feedback(2, label="HARMFUL")]
        policy = STRICTER if segment % 2 else LOOSER
        found.append(tally_of(*records, policy=policy, segment=segment))
        found[-1].count(At(0, segment, 9), verdict(3), verdict(3).decided, full=False)
        found.append(
            tally_of(verdict(5, digests=msgspec.structs.replace(verdict(5).digests, bundle="x")), segment=segment)
        )
    return found


def merged(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def test_the_order_of_merging_makes_no_difference():
    """To the byte: that is what engines and workers rely on."""
    expected = merged(parts())
    for seed in range(20):
        shuffled = parts()
        random.Random(seed).shuffle(shuffled)
        middle = random.Random(seed).randrange(len(shuffled))

        assert expected == merged([merged(shuffled[:middle]), merged(shuffled[middle:])])


def test_lists_keep_the_first_by_place_and_count_all():
    """However many there are and in whatever order they come."""
    halves = []
    for begin in (500, 0):
        half: Firsts[str] = Firsts(10)
        for line in range(begin, begin + 500):
            half.add(At(0, 1, line), str(line))
        halves.append(half)
    halves[0].merge(halves[1])

    assert 1_000 == halves[0].count
    assert [str(line) for line in range(10)] == [item for _, item in halves[0].items]


def test_a_tally_goes_between_processes_and_into_files():
    """And comes back equal."""
    tally = merged(parts())

    assert tally == pickle.loads(pickle.dumps(tally))
    assert tally == msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=Tally)


def test_a_tally_does_not_grow_with_the_log():
    """Once it has met every kind of verdict."""
    once, often = tally_of(*verdicts(60)), tally_of(*verdicts(6_000))

    assert len(msgspec.msgpack.encode(often)) < len(msgspec.msgpack.encode(once)) + 100


@pytest.mark.parametrize(
    ("margin", "place"),
    [
        (None, 0),
        (-10.01, 1),
        (-10.0, 2),
        (-9.51, 2),
        (-9.5, 3),
        (9.99, BUCKETS + 1),
        (10.0, BUCKETS + 2),
        (1e9, BUCKETS + 2),
    ],
)
def test_margins_fall_into_buckets(margin, place):
    """The lower edge belongs to a bucket; what is not known has one of its own."""
    assert place == bucket(margin)
