from pathlib import Path

import pytest
from audit.samples import verdict, verdict_id, write_log
from fakes import HARMFUL
from interlock_lab.replay.rescore import as_recorded, not_of_the_text, score_gaps
from interlock_server.audit.texts import TextKeeper
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause
from interlock_server.decision.verdict import Reason
from nacl.public import PrivateKey

from .samples import KEEPS_ALL, part_of_stream, recorded, run, small_bundle

QUIET = "She whispered his name."
TEXTS = {verdict_id(number): (b"", QUIET.encode()) for number in (1, 2, 3)} | {verdict_id(4): (b"", HARMFUL.encode())}


def recorded_log(folder: Path, bundle: Path, keeper: TextKeeper = KEEPS_ALL) -> Path:
    """Three benign texts, a harmful one, and a fifth of which nothing was kept."""
    records = [recorded(bundle, number, score=0.99 if number == 4 else 0.01) for number in range(1, 6)]
    write_log(folder / "log", records, texts=TEXTS, keeper=keeper)
    return folder / "log"


def test_the_same_bundle_scores_the_same_and_says_so(tmp_path):
    """And says of how many texts that is true."""
    bundle = small_bundle(tmp_path)
    ran = run(tmp_path, recorded_log(tmp_path, bundle), "--rescore", bundle)

    assert 0 == ran.code
    assert {"RELEASE": 3, "HARMFUL": 1} == {cell["from"]: cell["count"] for cell in ran.report["verdicts"]["matrix"]}
    assert (4, 0) == (ran.report["irreproducible"]["of"], ran.report["irreproducible"]["count"])
    assert {"count": 16, "mean": 0.0, "max": 0.0} == ran.report["scores"]["alpha"]
    assert ["TEXT_NOT_KEPT"] == list(ran.report["unjudged"])


def test_another_bundle_decides_on_its_own_scores(tmp_path):
    """What differs is told per member; nothing of it is our fault."""
    bundle = small_bundle(tmp_path / "old")
    other = small_bundle(tmp_path / "new", alpha={"phrases": {"stabbed": 0.99, "whispered": 0.91}})
    ran = run(tmp_path, recorded_log(tmp_path, bundle), "--rescore", other)

    assert 0 == ran.code
    assert 3 == ran.report["to_withhold"]["count"]
    assert {"DISAGREEMENT"} == {row["reason"] for row in ran.report["verdicts"]["to_withhold_by_cause"]}
    assert (0.9, 0.0) == pytest.approx([ran.report["scores"][name]["max"] for name in ("alpha", "beta")])
    assert 0 == ran.report["irreproducible"]["of"]


def test_scores_of_the_same_bundle_beyond_its_tolerance_are_our_fault(tmp_path):
    """The member is named."""
    bundle = small_bundle(tmp_path)
    write_log(tmp_path / "log", [recorded(bundle, 1, score=0.05)], texts=TEXTS, keeper=KEEPS_ALL)
    ran = run(tmp_path, tmp_path / "log", "--rescore", bundle)

    assert 4 == ran.code
    assert "scores of alpha" in ran.output


def test_encrypted_texts_need_the_key(tmp_path):
    """Without it they are counted as such."""
    bundle, private = small_bundle(tmp_path), PrivateKey.generate()
    log = recorded_log(tmp_path, bundle, keeper=TextKeeper.sealing(b"", bytes(private.public_key), {"RELEASE": 1.0}))
    (tmp_path / "key").write_text(bytes(private).hex())
    closed = run(tmp_path, log, "--rescore", bundle, "--max-new-releases", 0)
    without = closed.report
    opened = run(tmp_path, log, "--rescore", bundle, "--private-key", tmp_path / "key").report

    assert {"TEXT_ENCRYPTED": 4, "TEXT_NOT_KEPT": 1} == {
        cause: some["count"] for cause, some in without["unjudged"].items()
    }
    assert 3 == closed.code
    assert (0, 4) == (without["verdicts"]["judged"], opened["verdicts"]["judged"])


@pytest.mark.parametrize("alarm", Reason)
def test_a_stream_with_an_alarm_is_never_asked_again(alarm):
    """What is kept of it may be the beginning that fitted, or had come."""
    stream = part_of_stream(1, whole=True).stream
    found = not_of_the_text(verdict(1, evidence=Evidence(alarms=(alarm,)), stream=stream))

    assert ("NOT_OF_THE_TEXT", alarm) == (found.cause, found.detail)


def test_what_was_refused_for_more_than_is_kept_is_no_new_release(tmp_path):
    """A stream too long, and a call with two contexts; what came at a bad time is scored."""
    bundle = small_bundle(tmp_path)
    stream = part_of_stream(1, whole=True).stream
    alarms = {1: Reason.INPUT_TOO_LONG, 2: Reason.INPUT_UNREADABLE, 3: Reason.OVERLOADED}
    records = [
        recorded(bundle, number, evidence=Evidence(alarms=(alarm,)), stream=stream if number == 1 else None)
        for number, alarm in alarms.items()
    ]
    write_log(tmp_path / "log", records, texts=TEXTS, keeper=KEEPS_ALL)
    ran = run(tmp_path, tmp_path / "log", "--rescore", bundle)

    assert [verdict_id(3)] == [flip["verdict_id"] for flip in ran.report["to_release"]["first"]]
    assert ["INPUT_TOO_LONG", "INPUT_UNREADABLE"] == [
        one["detail"] for one in ran.report["unjudged"]["NOT_OF_THE_TEXT"]["first"]
    ]


def test_new_scores_stand_under_what_held_at_the_time():
    """All but the alarms: where those of the time count, nothing is scored again."""
    before = Evidence(
        profile="old",
        extra_margin=0.5,
        alarms=(Reason.OVERLOADED,),
        certificate=CertificateState.VALID,
        conservative=True,
    )
    after = as_recorded(Evidence((MemberEvidence("alpha"),), alarms=(Reason.INPUT_EMPTY,)), before, "new")

    assert Evidence(
        (MemberEvidence("alpha"),),
        "new",
        0.5,
        (Reason.INPUT_EMPTY,),
        None,
        CertificateState.VALID,
        True,
    ) == after  # fmt: skip


def test_only_complete_scores_are_compared():
    """Some windows of a text are not the text."""
    before = Evidence((MemberEvidence("alpha", {"harm": 0.2}), MemberEvidence("beta", {"harm": 0.2})))
    after = Evidence(
        (
            MemberEvidence("alpha", {"harm": 0.5, "other": 1}),
            MemberEvidence("beta", {"harm": 0.9}, MissingCause.TIMED_OUT),
        )
    )

    assert {"alpha": [pytest.approx(0.3)]} == score_gaps(before, after)
