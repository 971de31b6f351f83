"""The RPCs as a caller sees them: verdicts, details, errors and metadata."""

import hashlib
from typing import Any

import grpc
import pytest
from fakes import BENIGN, CATEGORIES, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb

from .conftest import StartServer
from .server import MEMBERS, PATIENT_S, Server, exchange, reasons, request

FULL = pb.DETAIL_FULL


def screen_all(server: Server, exchanges: list[pb.Exchange], **asked: Any) -> list[pb.Verdict]:
    response = server.stub.ScreenBatch(pb.ScreenBatchRequest(exchanges=exchanges, **asked), timeout=PATIENT_S)
    return list(response.verdicts)


def refused(server: Server, asked: pb.ScreenRequest) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Screen(asked, timeout=PATIENT_S)
    return caught.value.code(), caught.value.details()  # type: ignore[attr-defined]


def test_what_is_benign_is_released(server: Server):
    """With the digest of what was judged, so that nothing else is released in its place."""
    verdict = server.screen(BENIGN, prompt="What did she do?")

    assert (pb.DECISION_RELEASE, []) == (verdict.decision, reasons(verdict))
    assert hashlib.sha256(BENIGN.encode()).digest() == verdict.completion_sha256


def test_what_is_harmful_is_withheld(server: Server):
    """With the reason and what to do."""
    verdict = server.screen(HARMFUL)

    assert (pb.DECISION_WITHHOLD, ["HARMFUL"]) == (verdict.decision, reasons(verdict))
    assert (pb.ACTION_REGENERATE, False) == (verdict.action, verdict.retryable)


def test_one_member_is_enough_to_withhold(server: Server):
    """The others do not outvote it; it is named as the dissenter."""
    server.script("beta", phrases={"tea": 0.6})
    verdict = server.screen(BENIGN, detail=FULL)

    assert ["DISAGREEMENT"] == reasons(verdict)
    assert {("beta",)} == {tuple(category.dissenters) for category in verdict.categories}


def test_joint_suspicion_withholds(server: Server):
    """Nobody dissents, nobody is sure, and together it is too much."""
    for name in MEMBERS:
        server.script(name, default=0.25)

    assert ["UNCERTAIN"] == reasons(server.screen(BENIGN))


def test_turns_are_a_prompt(server: Server):
    """Earlier messages instead of one."""
    turns = [pb.Turn(speaker=pb.SPEAKER_USER, text=b"Hi"), pb.Turn(text=b"Tea?")]
    response = server.stub.Screen(
        pb.ScreenRequest(exchange=pb.Exchange(turns=turns, completion=BENIGN.encode())), timeout=PATIENT_S
    )

    assert pb.DECISION_RELEASE == response.verdict.decision


def test_a_disguise_does_not_help(server: Server):
    """Look-alikes and invisible characters, in the canonical view."""
    assert ["HARMFUL"] == reasons(server.screen("He st\u200bаbb\u0435d her."))


def test_verdicts_have_ids_of_their_own(server: Server):
    """Also for equal texts."""
    assert server.screen().verdict_id != server.screen().verdict_id


@pytest.mark.parametrize("detail", [pb.DETAIL_UNSPECIFIED, pb.DETAIL_REASONS])
def test_the_default_detail_has_reasons_and_no_scores(server: Server, detail: int):
    """Scores are an oracle for attackers."""
    verdict = server.screen(HARMFUL, detail=detail)

    assert (["HARMFUL"], True) == (reasons(verdict), verdict.digests.bundle.startswith("sha256:"))
    assert (False, [], []) == (verdict.HasField("margin"), list(verdict.categories), list(verdict.members))


def test_the_least_detail_is_the_decision(server: Server):
    """And what to do."""
    verdict = server.screen(HARMFUL, detail=pb.DETAIL_DECISION)

    assert (pb.DECISION_WITHHOLD, pb.ACTION_REGENERATE) == (verdict.decision, verdict.action)
    assert ([], False) == (reasons(verdict), verdict.HasField("digests"))


def test_full_detail_explains(server: Server):
    """Margin, scores of every member in every category, coverage and the worst window."""
    verdict = server.screen(HARMFUL, detail=FULL)
    scores = {(item.member, score.category): score.score for item in verdict.members for score in item.scores}

    assert dict.fromkeys([(name, category) for name in MEMBERS for category in CATEGORIES], 0.99) == scores
    assert verdict.margin < 0
    assert {(0, len(HARMFUL))} == {(c.start, c.end) for item in verdict.members for c in item.coverage}


def test_a_server_grants_no_more_than_it_may(start_server: StartServer):
    """Whatever is asked for."""
    server = start_server(transport={"detail_max": "decision"})
    verdict = server.screen(HARMFUL, detail=FULL)

    assert (pb.DECISION_WITHHOLD, [], []) == (verdict.decision, reasons(verdict), list(verdict.members))


def test_timing_says_where_the_time_went(server: Server):
    """All of it within the total."""
    timing = server.screen().timing

    assert 0 < timing.infer.ToNanoseconds() + timing.tokenize.ToNanoseconds()
    assert timing.queue.ToNanoseconds() <= timing.total.ToNanoseconds()


def test_a_tightening_withholds(server: Server):
    """A caller may ask for more margin than there is."""
    assert ["UNCERTAIN"] == reasons(server.screen(extra_margin=100.0))


def test_an_observing_caller_gets_the_same_verdict(server: Server):
    """And is counted."""
    before = server.metric("interlock_enforcement_observed_total")
    verdict = server.screen(HARMFUL, enforcement=pb.ENFORCEMENT_OBSERVE)

    assert (pb.DECISION_WITHHOLD, pb.ENFORCEMENT_OBSERVE) == (verdict.decision, verdict.enforcement)
    assert 1 == server.metric("interlock_enforcement_observed_total") - before


@pytest.mark.parametrize(
    ("asked", "details"),
    [
        (request(profile="lenient"), "profile: the policy has balanced"),
        (request(extra_margin=-0.1), "extra_margin: must be finite and 0 or more"),
        (request(extra_margin=float("nan")), "extra_margin: must be finite and 0 or more"),
        (request(extra_margin=float("inf")), "extra_margin: must be finite and 0 or more"),
        (
            pb.ScreenRequest(exchange=pb.Exchange(prompt=b"a", turns=[pb.Turn(text=b"b")], completion=b"c")),
            "exchange: has both a prompt and turns",
        ),
    ],
)
def test_what_cannot_be_understood_is_an_error(server: Server, asked: pb.ScreenRequest, details: str):
    """The message names the field and the limit."""
    assert (grpc.StatusCode.INVALID_ARGUMENT, details) == refused(server, asked)


def test_an_empty_request_is_withheld(server: Server):
    """Nothing that was left out is a permission."""
    response = server.stub.Screen(pb.ScreenRequest(), timeout=PATIENT_S)

    assert (pb.DECISION_WITHHOLD, ["INPUT_EMPTY"]) == (response.verdict.decision, reasons(response.verdict))


def test_bytes_that_are_no_request_are_an_error(server: Server):
    """Garbage on the wire."""
    call = server.channel.unary_unary("/interlock.v1.SafetyFilterService/Screen")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=PATIENT_S)

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()  # type: ignore[attr-defined]


def test_trailing_metadata_has_reason_and_request_id(server: Server):
    """For meshes that do not read verdicts."""
    metadata = (("x-request-id", "r-17"), ("x-request-id", "r-18"))
    _, call = server.stub.Screen.with_call(request(HARMFUL), timeout=PATIENT_S, metadata=metadata)

    assert {("interlock-reason", "HARMFUL"), ("x-request-id", "r-17")} == {
        tuple(item) for item in call.trailing_metadata()
    }


def test_a_release_has_no_reason_in_its_metadata(server: Server):
    """There is none."""
    _, call = server.stub.Screen.with_call(request(), timeout=PATIENT_S)

    assert [] == list(call.trailing_metadata())


def test_a_batch_keeps_its_order(server: Server):
    """Verdict n is on exchange n."""
    texts = [BENIGN, HARMFUL, f"{BENIGN} Then it rained."] * 10
    verdicts = screen_all(server, [exchange(text) for text in texts])

    assert [hashlib.sha256(text.encode()).digest() for text in texts] == [v.completion_sha256 for v in verdicts]
    assert [text != HARMFUL for text in texts] == [v.decision == pb.DECISION_RELEASE for v in verdicts]


def test_a_bad_item_does_not_hurt_its_neighbours(server: Server):
    """Each is judged on its own."""
    two_contexts = pb.Exchange(prompt=b"a", turns=[pb.Turn(text=b"b")], completion=BENIGN.encode())
    bad = [exchange(b"\xff"), exchange(b""), exchange(b"x" * 70_000), two_contexts]

    assert [[], ["INPUT_UNREADABLE"], ["INPUT_EMPTY"], ["INPUT_TOO_LONG"], ["INPUT_UNREADABLE"], []] == list(
        map(reasons, screen_all(server, [exchange(BENIGN), *bad, exchange(BENIGN)]))
    )


def test_an_empty_batch_has_no_verdicts(server: Server):
    """And is no error."""
    assert [] == screen_all(server, [])


def test_a_batch_has_a_limit(server: Server):
    """The message says which."""
    with pytest.raises(grpc.RpcError) as caught:
        screen_all(server, [exchange()] * 257)

    assert "exchanges: 257 are more than 256" == caught.value.details()  # type: ignore[attr-defined]


def test_a_batch_with_an_unknown_profile_is_an_error(server: Server):
    """As a single request is."""
    with pytest.raises(grpc.RpcError) as caught:
        screen_all(server, [exchange()], profile="lenient")

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()  # type: ignore[attr-defined]


def test_the_ensemble_is_described(server: Server):
    """Members, categories, profiles, digests, and that nothing is certified."""
    ensemble = server.stub.GetEnsemble(pb.GetEnsembleRequest(), timeout=PATIENT_S)

    assert list(MEMBERS) == [item.name for item in ensemble.members]
    assert {pb.MEMBER_ROLE_REQUIRED} == {item.role for item in ensemble.members}
    assert (CATEGORIES, ["balanced"]) == (list(ensemble.categories), list(ensemble.profiles))
    assert server.screen().digests == ensemble.digests
    assert pb.CERTIFICATE_STATE_NONE == ensemble.certificate.state
