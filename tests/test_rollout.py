"""A policy on trial: stricter or nothing, the same for a whole conversation, and named where it decides."""

from dataclasses import replace
from typing import Any

import pytest
from decision.samples import SUSPECT, category_rule, evidence, policy
from decision.strategies import cases, policies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interlock_server.audit.record import Digests, StreamTrace
from interlock_server.certification import Certification
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason
from interlock_server.metrics import Metrics
from interlock_server.rollout import Canary, Ruling
from interlock_server.screening import Request

LENIENT, STRICT = policy(category_rule(release_below=4.0)), policy(category_rule(release_below=1.0))
DOUBT = evidence(SUSPECT, SUSPECT)
ASKED = Request(b"prompt", b"completion")
RUNNING, TRIAL = (Digests(bundle="b", policy=f"sha256:{name}", build="1") for name in ("running", "trial"))


def canary(trial: Policy = STRICT, share: float = 1.0, digests: Digests = TRIAL) -> Canary:
    return Canary(trial, share, Certification(None, "", trial, ()), digests, Metrics())


def ruled(running: Policy, found: Evidence, trial: Canary, request: Request = ASKED) -> Ruling:
    return trial.weigh(request, Ruling(found, decide(found, running), RUNNING))


@given(cases(), policies(), st.sampled_from([0.0, 0.5, 1.0]), st.binary(max_size=8))
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_a_canary_never_releases_what_is_withheld(case: Any, trial: Policy, share: float, prompt: bytes):
    """Whatever the policies and the evidence; and what counts is what the policy that is named decides."""
    running, found = case
    tried = canary(trial, share)
    request = replace(ASKED, prompt=prompt)
    ruling = ruled(running, found, tried, request)
    by_name = {RUNNING.policy: running, TRIAL.policy: trial}

    assert decide(ruling.evidence, by_name[ruling.digests.policy]) == ruling.verdict
    assert decide(found, running).released or not ruling.verdict.released
    if share == 1.0 and ruling.verdict.released:
        assert decide(found, trial).released


def test_in_its_share_it_withholds_under_its_own_name():
    """And the record keeps what the running policy said."""
    inside, outside = ruled(LENIENT, DOUBT, canary()), ruled(LENIENT, DOUBT, canary(share=0.0))

    assert (False, TRIAL, True) == (inside.verdict.released, inside.digests, inside.others["running"].released)
    assert (True, RUNNING, False) == (outside.verdict.released, outside.digests, outside.others["canary"].released)


@pytest.mark.parametrize(
    ("running", "trial", "share", "result"),
    [
        (LENIENT, STRICT, 1.0, "enforced"),
        (LENIENT, STRICT, 0.0, "stricter"),
        (STRICT, LENIENT, 1.0, "looser"),
        (LENIENT, LENIENT, 1.0, "agreed"),
        (STRICT, STRICT, 1.0, "agreed"),
    ],
)
def test_what_it_says_is_counted(running: Policy, trial: Policy, share: float, result: str):
    """Once for a text, for the operator and for the metrics."""
    tried = canary(trial, share)
    ruled(running, DOUBT, tried)
    part = replace(ASKED, stream=StreamTrace(stream_id="1", start=0, end=5))
    ruled(running, DOUBT, tried, part)
    labels = {"policy": "test", "result": result}

    assert (1, 1) == (tried.tally.verdicts, getattr(tried.tally, result))
    assert 1 == tried._metrics.registry.get_sample_value("interlock_rollout_decisions_total", labels)


def test_what_nobody_judged_is_not_counted():
    """An alarm withholds under every policy."""
    tried = canary()
    ruling = ruled(LENIENT, replace(DOUBT, alarms=(Reason.DEADLINE,)), tried)

    assert (0, RUNNING) == (tried.tally.verdicts, ruling.digests)


def test_a_conversation_is_always_on_the_same_side():
    """Whatever its completions are; a stream is one conversation from its first byte."""
    tried = canary(share=0.5)
    for number in range(50):
        asked = Request(b"%d" % number, b"one")
        assert tried.chosen(asked) == tried.chosen(replace(asked, completion=b"another"))
        trace = StreamTrace(stream_id=f"{number}", start=0, end=5)
        part = Request(b"", b"one", stream=trace)
        assert tried.chosen(part) == tried.chosen(replace(part, completion=b"another", stream=replace_end(trace)))


def replace_end(trace: StreamTrace) -> StreamTrace:
    return StreamTrace(stream_id=trace.stream_id, start=5, end=9, whole=True)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_is_what_was_asked_for(share: float):
    """And another canary has another share of the conversations."""
    asked = [Request(b"%d" % number, b"text", caller="ann") for number in range(4_000)]
    one, other = canary(share=share), canary(share=share, digests=RUNNING)
    chosen = [each for each in asked if one.chosen(each)]

    assert abs(len(chosen) / len(asked) - share) <= 0.02
    if 0 < share < 1:
        assert chosen != [each for each in asked if other.chosen(each)]
