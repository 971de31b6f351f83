"""The twins of the closed doors: every policy that loads releases something, and the samples release a real share."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason

from .strategies import CATEGORIES, EXAMPLES, NUMBERS, cases, edge_policies, policies


def all_say(policy: Policy, score: float, profile: str) -> Evidence:
    """Every member has read everything and gives this score in every category; nothing else is wrong."""
    items = [MemberEvidence(name, dict.fromkeys(CATEGORIES, score), None, True) for name in policy.required_members]
    return Evidence(tuple(items), profile, ood_pvalue=1.0, certificate=CertificateState.VALID)


@EXAMPLES
@given(policies())
def test_every_policy_can_release(policy: Policy):
    """A policy that withholds everything is broken too, and does not load."""
    verdicts = [decide(all_say(policy, 0.0, name), policy) for name in policy.profiles]

    assert [(True, ())] * len(verdicts) == [(verdict.released, verdict.reasons) for verdict in verdicts]


@EXAMPLES
@given(policies())
def test_every_policy_can_find_harm(policy: Policy):
    """When every member is as sure of harm as it can be, it is harm and nothing else."""
    verdicts = [decide(all_say(policy, 1.0, name), policy) for name in policy.profiles]

    assert [(Reason.HARMFUL,)] * len(verdicts) == [verdict.reasons for verdict in verdicts]


@pytest.mark.parametrize("field", NUMBERS)
@settings(EXAMPLES, max_examples=100)
@given(data=st.data())
def test_a_policy_with_any_number_changed_can_do_both_or_does_not_load(field: str, data: st.DataObject):
    """The checks of a policy leave no gap: a number that would close or open the door for good is refused."""
    policy = data.draw(edge_policies(field))
    for name in policy.profiles if policy else ():
        assert decide(all_say(policy, 0.0, name), policy).released
        assert Reason.HARMFUL == decide(all_say(policy, 1.0, name), policy).reasons[0]


def test_the_samples_release_a_real_share():
    """The properties would hold of nothing if no sample released; nor may all of them."""
    counts: Counter[str] = Counter()

    @settings(EXAMPLES, max_examples=200)
    @given(cases())
    def sample(case: tuple[Policy, Evidence]) -> None:
        verdict = decide(case[1], case[0])
        counts["RELEASE" if verdict.released else verdict.reasons[0]] += 1

    sample()

    # Wide limits: which examples hypothesis draws depends on what else is imported.
    assert 0.2 <= counts["RELEASE"] / counts.total() <= 0.9
    assert len(counts) >= 5
