"""The verdict as a value: what makes it true, what it shows, and that nothing else can make it true."""

import hashlib
import json
import math
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import Exchange, LocalReason, SafetyFilter, Verdict
from interlock_client.requests import Question
from interlock_client.responses import verdict_of
from interlock_client.retry import TokenBucket
from interlock_client.screening import SCREEN, SCREEN_BATCH, Method, Wait, plan

SETTINGS = SafetyFilter(targets="unused:1")
TEXT = b"the text that was sent"
DIGEST = hashlib.sha256(TEXT).digest()

digests = st.sampled_from([DIGEST, b"", DIGEST[:31], DIGEST.hex().encode(), hashlib.sha256(b"other").digest()])
verdicts = st.builds(
    pb.Verdict,
    decision=st.integers(-1, 4),
    completion_sha256=digests | st.binary(max_size=40),
    verdict_id=st.text(max_size=5),
    action=st.integers(0, 9),
    retryable=st.booleans(),
    reasons=st.lists(st.integers(0, 40), max_size=3),
    margin=st.none() | st.floats(),
    disagreement=st.none() | st.floats(),
    members=st.lists(
        st.builds(
            pb.MemberResult,
            member=st.text(max_size=3),
            missing=st.integers(0, 12),
            scores=st.lists(st.builds(pb.CategoryScore, category=st.text(max_size=3), score=st.floats()), max_size=2),
        ),
        max_size=2,
    ),
)
replies = st.binary(max_size=60) | st.lists(verdicts, max_size=3).map(
    lambda many: pb.ScreenBatchResponse(verdicts=many).SerializeToString()
)


def judged(method: Method, exchanges: list[Exchange], reply: Callable[[], bytes | Exception]) -> list[Verdict]:
    """Runs the plan of a call without a server: every Send gets the reply, every Wait is over at once."""
    steps = plan(method, Question(exchanges), SETTINGS, TokenBucket(None))
    try:
        step = next(steps)
        while True:
            step = steps.send(None if isinstance(step, Wait) else reply())
    except StopIteration as done:
        return list(done.value)


def deserves_release(message: pb.Verdict) -> bool:
    return message.decision == pb.DECISION_RELEASE and message.completion_sha256 == DIGEST


@given(message=verdicts)
def test_truth_needs_release_and_digest(message: pb.Verdict) -> None:
    """A verdict is true exactly if the server said RELEASE on the digest that was sent; and it always prints."""
    verdict = verdict_of(message, DIGEST, SETTINGS)

    assert deserves_release(message) == bool(verdict) == verdict.released == verdict.may_release
    assert verdict.decision == json.loads(verdict.to_json())["decision"]


@given(message=verdicts)
def test_any_response_is_judged_alike(message: pb.Verdict) -> None:
    """The same through the whole call: any ScreenResponse gives one verdict, true only if it deserves it."""
    reply = pb.ScreenResponse(verdict=message).SerializeToString()
    (verdict,) = judged(SCREEN, [Exchange(completion=TEXT)], lambda: reply)

    assert deserves_release(message) == bool(verdict)


@given(reply=replies, count=st.integers(1, 3), method=st.sampled_from([SCREEN, SCREEN_BATCH]))
def test_any_bytes_give_verdicts(reply: bytes, count: int, method: Method) -> None:
    """Whatever bytes come back, there is a verdict for each exchange, and a true one was in the bytes."""
    exchanges = [Exchange(completion=TEXT)] * (1 if method is SCREEN else count)
    verdicts = judged(method, exchanges, lambda: reply)

    assert len(exchanges) == len(verdicts)
    assert all(verdict.proto is not None and deserves_release(verdict.proto) for verdict in verdicts if verdict)


@pytest.mark.parametrize("error", [ValueError("x"), OSError(), RecursionError(), MemoryError(), StopIteration()])
def test_any_exception_withholds(error: Exception) -> None:
    """An exception of any type under the call is a withheld verdict that names the type."""
    (verdict,) = judged(SCREEN, [Exchange(completion=TEXT)], lambda: error)

    assert (bool(verdict), verdict.reasons) == (False, (LocalReason.CLIENT_ERROR,))
    assert type(error).__name__ == verdict.cause


def test_default_is_withheld() -> None:
    """A verdict that nobody filled in withholds and says that nobody was asked."""
    verdict = Verdict()

    assert (bool(verdict), verdict.released, verdict.may_release) == (False, False, False)
    assert (verdict.decision, verdict.reasons) == ("WITHHOLD", ("NOT_SCREENED",))


def test_release_without_digest_is_false() -> None:
    """The word RELEASE alone releases nothing, nor do two equal digests that are none."""
    assert not Verdict(decision="RELEASE")
    assert not Verdict(decision="RELEASE", sent_sha256=b"x", completion_sha256=b"x")


def test_fields_come_from_the_message() -> None:
    """Scores, causes, digests and numbers are read by name."""
    members = [
        pb.MemberResult(member="encoder", scores=[pb.CategoryScore(category="hate_harassment", score=0.25)]),
        pb.MemberResult(member="ngrams", missing=pb.MISSING_CAUSE_TIMED_OUT),
    ]
    message = pb.Verdict(decision=pb.DECISION_WITHHOLD, members=members, margin=-1.5, disagreement=2.0, retryable=True)
    message.retry_after.FromMilliseconds(1500)
    message.digests.policy = "sha256:ab"
    verdict = verdict_of(message, DIGEST, SETTINGS)

    assert (
        verdict.scores,
        verdict.missing,
    ) == ({"encoder": {"hate_harassment": 0.25}, "ngrams": {}}, {"ngrams": "TIMED_OUT"})
    assert (
        verdict.margin,
        verdict.disagreement,
        verdict.retry_after_s,
        verdict.digests,
    ) == (-1.5, 2.0, 1.5, {"policy": "sha256:ab"})


def test_unknown_names_are_kept() -> None:
    """A reason that only a newer server knows is shown by its number."""
    message = pb.Verdict(decision=pb.DECISION_WITHHOLD, reasons=[pb.REASON_HARMFUL, 999])

    assert verdict_of(message, DIGEST, SETTINGS).reasons == ("HARMFUL", "UNKNOWN_999")


def test_json_keys() -> None:
    """The JSON form has the documented keys, and no number that JSON does not know."""
    document = json.loads(Verdict(margin=math.nan, disagreement=1.0).to_json())

    expected = ["decision", "action", "reasons", "margin", "disagreement", "scores", "missing", "digests"]
    assert expected == list(document)
    assert (document["margin"], document["disagreement"]) == (None, 1.0)


def test_verdict_is_a_value() -> None:
    """Verdicts can be compared, hashed and sent to another process."""
    message = pb.Verdict(decision=pb.DECISION_RELEASE, completion_sha256=DIGEST)
    verdict = verdict_of(message, DIGEST, SETTINGS)

    assert verdict == pickle.loads(pickle.dumps(verdict))
    assert {verdict} == {verdict_of(message, DIGEST, SETTINGS)}
