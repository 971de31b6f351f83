"""What judges a server under fault must itself be able to say no: to a release that is wrong, to silence, to a fault unseen."""

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
from faults.judging import RUN_OF_RELEASES, Asked, Expected, Finding, Marks, judge, recovered_after_s
from faults.network_kinds import NETWORK_KINDS
from faults.report import page, totals, totals_line
from faults.runner import Row
from faults.traffic import Text, judged, texts
from interlock.v1 import safety_filter_pb2 as pb

MARKS = Marks(healthy_s=0.0, begun_s=10.0, injected_s=10.0, lifted_s=20.0)
TEXT, HARMFUL = Text("She poured tea.", benign=True), Text("He stabbed her.", benign=False)
SEEN = ["`interlock_missing_total`"]


def asked(at_s: float, benign: bool, released: bool, **changes: Any) -> Asked:
    """A request that took ten milliseconds."""
    return Asked(benign, at_s, at_s + 0.01, released, **changes)


def run_of(server: Any, lasts_s: int = 30) -> list[Asked]:
    """Ten requests a second to a server, which is told the time and whether the text is benign."""
    times_s = [tenth / 10 for tenth in range(10 * lasts_s)]
    return [asked(at_s, place % 3 > 0, server(at_s, place % 3 > 0)) for place, at_s in enumerate(times_s)]


def careful(at_s: float, benign: bool) -> bool:
    """A server that withholds everything while the fault is there."""
    return benign and not 10 <= at_s < 20


def found(samples: Sequence[Asked], expected: Expected = Expected(), seen: Sequence[str] = SEEN) -> Finding:  # noqa: B008
    """The judgement."""
    return judge(samples, MARKS, expected, seen)


def test_a_server_that_fails_closed_and_comes_back_passes():
    """Nothing is wrong with it, also where evidence was missing all the time."""
    finding = found(run_of(careful), Expected(blind=True))

    assert ([], 0) == (finding.problems, finding.wrong)
    assert {"before": 1.0, "during": 0.0, "after": 1.0} == finding.released


@pytest.mark.parametrize("at_s", [5.0, 15.0, 25.0])
def test_one_wrong_release_is_too_many(at_s: float):
    """Before, during or after."""
    wrong = asked(at_s, False, True, flaw="it is harmful")

    assert ["1 wrong releases"] == found([*run_of(careful), wrong]).problems


def test_a_release_without_evidence_is_wrong():
    """Of a benign text too, unless its request outlived the fault."""
    blind, outlived = asked(15.0, True, True), Asked(True, 19.9, 20.2, released=True)

    assert 1 == found([*run_of(careful), blind, outlived], Expected(blind=True)).wrong
    assert 0 == found([*run_of(careful), blind, outlived]).wrong


def test_a_server_that_withholds_everything_fails():
    """Though nothing wrong gets out."""
    finding = found(run_of(lambda at_s, benign: False))

    assert 0 == finding.wrong
    assert "the server was not healthy before" in finding.problems
    assert "it did not recover within 12 s" in finding.problems


def test_a_server_that_never_recovers_fails():
    """It was healthy, once."""
    assert ["it did not recover within 12 s"] == found(run_of(lambda at_s, benign: benign and at_s < 10)).problems


def test_a_server_that_recovers_late_fails():
    """The limit is the kind's."""
    late = run_of(lambda at_s, benign: careful(at_s, benign) and not 20 <= at_s < 25)

    assert 5 == pytest.approx(found(late).recovery_s, abs=0.2)
    assert ["it did not recover within 3 s"] == found(late, Expected(recovery_s_max=3.0)).problems


def test_a_server_that_falls_back_after_its_recovery_fails():
    """A few releases in a row are not health."""
    assert ["it was not healthy afterwards"] == found(
        run_of(lambda at_s, benign: careful(at_s, benign) and at_s < 22)
    ).problems


def test_one_way_that_stays_broken_is_no_recovery():
    """All others may be served."""
    samples = [asked(at_s, True, at_s < 10 or way == "raw", way=way) for at_s in range(30) for way in ("raw", "client")]

    assert recovered_after_s(samples, 20.0) is None


def test_a_recovery_is_a_run_of_releases():
    """One lucky one does not begin it."""
    lucky = [asked(20 + place, True, place == 0 or place > 2) for place in range(3 + RUN_OF_RELEASES)]

    assert 3.01 == pytest.approx(recovered_after_s(lucky, 20.0))


def test_callers_who_are_kept_waiting_are_a_failure():
    """Beyond their deadlines."""
    samples = run_of(careful)
    kept = [asked(one.begun_s, one.benign, one.released, in_time=not 10 <= one.begun_s < 20) for one in samples]

    assert ["callers were kept waiting beyond their deadlines"] == found(kept).problems


def test_a_fault_that_nobody_saw_was_not_injected():
    """However well the server did."""
    assert ["could not be injected: nobody saw it"] == found(run_of(careful), seen=[]).problems


def test_traffic_without_benign_texts_proves_nothing():
    """A server that withholds everything would pass."""
    samples = run_of(careful) + [asked(10 + place / 100, False, False) for place in range(500)]

    assert ["too little of the traffic was benign"] == found(samples).problems


def test_a_fault_that_must_not_cost_anything():
    """Has a share of its own."""
    assert ["too little was released during the fault"] == found(
        run_of(careful), Expected(released_share_min=0.9)
    ).problems


def verdict(of: Text = TEXT, **changes: Any) -> pb.Verdict:
    """A release of a text."""
    digest = hashlib.sha256(of.completion.encode()).digest()
    return pb.Verdict(**{"decision": pb.DECISION_RELEASE, "completion_sha256": digest, **changes})


@pytest.mark.parametrize(
    ("text", "of", "changes", "flaw"),
    [
        (TEXT, TEXT, {}, ""),
        (HARMFUL, HARMFUL, {}, "it is harmful"),
        (TEXT, HARMFUL, {}, "the digest is another text's"),
        (TEXT, TEXT, {"completion_sha256": b""}, "the digest is another text's"),
        (TEXT, TEXT, {"members": [{"member": "a", "missing": pb.MISSING_CAUSE_FAILED}]}, "evidence was missing"),
        (TEXT, TEXT, {"reasons": [pb.REASON_MEMBER_FAILED]}, "evidence was missing"),
    ],
)
def test_what_a_release_can_be_wrong_in(text: Text, of: Text, changes: dict[str, Any], flaw: str):
    """The text, the digest, the evidence."""
    answer = judged(text, verdict(of, **changes))

    assert (True, flaw) == (answer.released, answer.flaw)


def test_a_withheld_text_is_no_flaw():
    """Whatever it is."""
    assert not judged(HARMFUL, verdict(HARMFUL, decision=pb.DECISION_WITHHOLD)).flaw
    assert not judged(HARMFUL, pb.Verdict()).released


def test_where_the_network_changes_texts_the_digest_guards():
    """A caller who compares it releases nothing; one who is told of his own text still does."""
    assert not judged(TEXT, verdict(HARMFUL), digest_guards=True).released
    assert "it is harmful" == judged(HARMFUL, verdict(HARMFUL), digest_guards=True).flaw


def test_more_than_half_of_the_traffic_is_benign():
    """And every harm comes, each known to one member only."""
    some = list(islice(texts(1), 2000))

    assert 0.55 < sum(text.benign for text in some) / 2000 < 0.65
    assert all(any(word in text.completion for text in some) for word in ("stabbed", "poisoned", "strangled"))
    assert all(text.benign != any(word in text.completion for word in ("stab", "pois", "strang")) for text in some)


def test_the_totals_and_the_page():
    """Also of a kind that could not be injected."""
    rows = [Row(NETWORK_KINDS[0], [], found(run_of(careful)), SEEN), Row(NETWORK_KINDS[1], ["could not be injected"])]
    result = {
        "machine": {"date": "today", "cores": 2}, "benign_share": 0.6, "run_of_releases": 5, "totals": totals(rows),
        "rows": [row.as_dict() for row in rows],
    }  # fmt: skip

    assert "2 kinds, 100 requests under fault, 0 wrong releases, 1 kinds failed" == totals_line(totals(rows))
    assert "| connection_reset | 100 / 100 / " in page(result)
    assert "| network_silent | - |" in page(result)
