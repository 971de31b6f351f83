import random
from dataclasses import replace

import pytest
from audit.samples import verdict, verdicts, write_log
from decision.samples import evidence
from interlock_lab.replay.redecide import Job, Wanted, redecide_unit, tallied
from interlock_lab.replay.tally import At, Tally
from interlock_server.audit.reader import Damage, Place, units
from interlock_server.audit.record import SegmentStart, decided
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause
from interlock_server.decision.verdict import Action, Decision, Reason
from msgspec.structs import replace as changed

from .samples import LOOSER, SAME, STRICTER, part_of_stream, suspect, tally_of


def outcomes(tally: Tally) -> dict[tuple[str, str], int]:
    """Before and after, of verdicts on whole texts."""
    return {(before, after): n for (part, _, before, after), n in tally.outcomes.items() if not part}


def anything(random_: random.Random) -> Evidence:
    """Evidence as it may be: scores at limits, members missing, twice or unknown, alarms, modes."""
    names = random_.choices(("alpha", "beta", "gamma", "stranger"), k=random_.randrange(4))
    members = tuple(
        MemberEvidence(
            name,
            {"harm": random_.choice((0.0, 1.0, 1e-300, 0.2, random_.random()))} if random_.random() < 0.9 else {},
            random_.choice((None, None, None, *MissingCause)),
            random_.random() < 0.9,
        )
        for name in names
    )
    safe = evidence(random_.random() / 10, random_.random() / 10)
    return replace(
        safe if random_.random() < 0.5 else Evidence(members),
        profile=random_.choice(("", "balanced", "unheard of")),
        extra_margin=random_.choice((0.0, 0.0, 0.5, -1.0)),
        alarms=random_.choice(((), (), (Reason.OVERLOADED,), (Reason.AUDIT_FAILED, Reason.DEADLINE))),
        ood_pvalue=random_.choice((None, 0.5)),
        certificate=random_.choice(tuple(CertificateState)),
        conservative=random_.random() < 0.05,
    )


def test_evidence_decides_again_to_the_same_verdict_after_a_way_through_the_log(tmp_path):
    """Exactly, in every field, whatever the evidence."""
    random_ = random.Random(5)
    write_log(tmp_path, [verdict(number, evidence=anything(random_)) for number in range(3_000)])
    tally = redecide_unit(Job(0, units(tmp_path)[0]), SAME)

    assert (3_000, 0, 0) == (tally.checked, tally.irreproducible.count, tally.flipped.count)
    assert {("RELEASE", "RELEASE")} < set(outcomes(tally))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decision", Decision.WITHHOLD),
        ("reasons", (Reason.UNCERTAIN,)),
        ("action", Action.ESCALATE),
        ("margin", 2.0000000000000004),
        ("margin", None),
        ("disagreement", 1e-300),
        ("categories", {"harm": (Reason.HARMFUL,)}),
    ],
)
def test_any_difference_under_the_same_policy_is_an_error_of_ours(field, value):
    """To the last bit."""
    was = verdict(1)
    tally = tally_of(changed(was, decided=changed(was.decided, **{field: value})))

    assert [(At(0, 1, 2), (field,))] == [(at, item.fields) for at, item in tally.irreproducible.items]


def test_another_policy_changes_verdicts_and_is_no_error():
    """Each side's reasons say what for."""
    tally = tally_of(verdict(1), suspect(2), verdict(3), policy=LOOSER)

    assert {("RELEASE", "RELEASE"): 1, ("UNCERTAIN", "RELEASE"): 1, ("HARMFUL", "HARMFUL"): 1} == outcomes(tally)
    assert {(False, "RELEASE", "harm", "UNCERTAIN"): 1} == tally.flips
    assert (0, 0) == (tally.checked, tally.irreproducible.count)


def test_what_is_withheld_anew_is_counted_by_the_new_reasons():
    """There were none before."""
    tally = tally_of(verdict(1), verdict(2), policy=STRICTER)

    assert {(False, "WITHHOLD", "harm", "HARMFUL"): 2} == tally.flips
    assert [1, 2] == [int(flip.verdict_id[-1]) for _, flip in tally.withdrawn.items]


def test_a_profile_replaces_that_of_every_record():
    """Whatever it was; nothing else of the evidence changes."""
    profiles = {**SAME.policy.profiles, "strict": STRICTER.profiles["balanced"]}
    both = replace(SAME.policy, profiles=profiles)
    tally = tally_of(verdict(1), verdict(2, evidence=evidence(profile="unheard of")), policy=both, profile="strict")

    assert {("RELEASE", "HARMFUL"): 1, ("POLICY_INVALID", "HARMFUL"): 1} == outcomes(tally)


def test_the_profile_of_a_record_that_another_policy_lacks_is_not_guessed():
    """It is counted as such, with its place."""
    tally = tally_of(verdict(1), verdict(2, evidence=evidence(profile="old")), policy=LOOSER)

    assert {"PROFILE_UNKNOWN": [(At(0, 1, 3), "old")]} == {
        cause: [(at, item.detail) for at, item in some.items] for cause, some in tally.unjudged.items()
    }


def test_evidence_of_another_bundle_is_refused_unless_it_is_asked_for():
    """Its scores mean something else."""
    other = verdict(1, digests=changed(verdict(1).digests, bundle="sha256:other"))

    assert ["sha256:other"] == [item.detail for _, item in tally_of(other).unjudged["ANOTHER_BUNDLE"].items]
    assert 1 == tally_of(other, any_bundle=True).checked


def test_damage_is_named_and_the_rest_counts():
    """By what is wrong, where."""
    found = [(Place(1, 2), verdict(1)), Damage(Place(1, 3), "is not a record"), (Place(1, 4), verdict(2))]
    tally = tallied(found, 0, SAME)

    assert [(At(0, 1, 3), "is not a record")] == tally.damage.items
    assert 2 == tally.checked


def test_records_of_a_newer_format_are_not_read_as_ours():
    """What they hold may mean something else."""
    start = SegmentStart(format=2, number=1, previous="", time_unix_ns=0, build="")

    assert [At(0, 1, 3)] == [at for at, _ in tally_of(start, verdict(1)).unjudged["FORMAT_NEWER"].items]


def test_parts_of_streams_are_counted_apart():
    """One stream is not twenty verdicts; its verdict on the whole text is one."""
    tally = tally_of(verdict(1), part_of_stream(2), part_of_stream(4), part_of_stream(5, whole=True), policy=LOOSER)

    assert {("RELEASE", "RELEASE"): 1, ("UNCERTAIN", "RELEASE"): 1} == outcomes(tally)
    assert {(True, "RELEASE", "harm", "UNCERTAIN"): 2, (False, "RELEASE", "harm", "UNCERTAIN"): 1} == tally.flips
    assert 2 == sum(tally.margins_before)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(since_ns=verdict(3).time_unix_ns), [3, 4, 5]),
        (Wanted(until_ns=verdict(3).time_unix_ns), [1, 2]),
        (Wanted(caller="caller-0"), [2, 4]),
        (Wanted(category="harm"), [1, 2, 3, 4, 5]),
        (Wanted(category="other"), []),
    ],
)
def test_only_what_is_wanted_counts(wanted, numbers):
    """By time, by caller, by a category that withholds before or after."""
    tally = tally_of(*verdicts(5), policy=STRICTER, wanted=wanted)
    flipped = [number for number in numbers if number != 3]  # HARMFUL before and after

    assert (len(numbers), flipped) == (tally.records, [int(flip.verdict_id[-1]) for _, flip in tally.withdrawn.items])


def test_a_shadow_is_reported_as_it_decided_at_the_time():
    """Nothing is decided again; where an alarm withheld, the shadow was not asked and would have withheld too."""
    alarmed = evidence(alarms=(Reason.OVERLOADED,))
    records = [
        verdict(1, shadows={"next": decided(decide(verdict(1).evidence, STRICTER))}),
        verdict(2, evidence=alarmed),
        verdict(4),
    ]
    tally = tally_of(*records, shadow="next")

    assert {("RELEASE", "HARMFUL"): 1, ("OVERLOADED", "OVERLOADED"): 1} == outcomes(tally)
    assert 1 == tally.unjudged["NO_SHADOW"].count
    assert 0 == tally.checked
