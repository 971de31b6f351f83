"""What holds for every policy that loads and any evidence: nothing that looks worse ever opens the door."""

import math
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, valid_score
from interlock_server.decision.panel_score import weighted_excess
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Action, CategoryResult, Reason, Verdict

from .strategies import (
    CATEGORIES,
    EXAMPLES,
    MEMBERS,
    NOT_SCORES,
    any_scores,
    calm_evidence,
    cases,
    policies,
    raised,
    wild_evidence,
    with_newcomer,
)

Case = tuple[Policy, Evidence]


def never_opens(policy: Policy, evidence: Evidence, worse: Evidence, worse_policy: Policy | None = None) -> None:
    """A RELEASE of the worse one implies a RELEASE of the other: a WITHHOLD cannot have become a RELEASE."""
    assert decide(evidence, policy).released or not decide(worse, worse_policy or policy).released


@EXAMPLES
@given(cases(), st.data())
def test_raising_scores_never_opens(case: Case, data: st.DataObject):
    """One score or several at once, by any amount."""
    policy, evidence = case

    never_opens(policy, evidence, data.draw(raised(evidence)))


@EXAMPLES
@given(policies().flatmap(lambda policy: st.tuples(st.just(policy), calm_evidence(policy))), st.data())
def test_raising_one_score_by_one_step_never_opens(case: Case, data: st.DataObject):
    """The smallest step there is, in evidence that is releasable or nearly so."""
    policy, evidence = case
    chosen = data.draw(st.sampled_from(range(len(evidence.members))))
    category = data.draw(st.sampled_from(CATEGORIES))
    item = evidence.members[chosen]
    higher = replace(item, scores={**item.scores, category: math.nextafter(item.scores[category], 2)})
    members = (*evidence.members[:chosen], higher, *evidence.members[chosen + 1 :])

    never_opens(policy, evidence, replace(evidence, members=members))


@EXAMPLES
@given(cases(), st.sampled_from([*MEMBERS, "omega"]))
def test_removing_a_member_never_opens(case: Case, member: str):
    """Whoever says nothing any more cannot be the one who agrees."""
    policy, evidence = case
    rest = tuple(item for item in evidence.members if item.member != member)

    never_opens(policy, evidence, replace(evidence, members=rest))


@EXAMPLES
@given(cases(), st.sampled_from(MEMBERS), st.sampled_from(CATEGORIES))
def test_removing_a_score_never_opens(case: Case, member: str, category: str):
    """Silence on one category is no agreement."""
    policy, evidence = case
    items = [
        replace(item, scores={c: s for c, s in item.scores.items() if (item.member, c) != (member, category)})
        for item in evidence.members
    ]

    never_opens(policy, evidence, replace(evidence, members=tuple(items)))


@EXAMPLES
@given(policies().flatmap(lambda policy: st.tuples(st.just(policy), calm_evidence(policy))), st.data())
def test_what_is_no_score_never_opens(case: Case, data: st.DataObject):
    """In place of any one score that the policy needs."""
    policy, evidence = case
    profile = policy.profiles[evidence.profile or policy.default_profile]
    category = data.draw(st.sampled_from(sorted(profile.categories)))
    member = data.draw(st.sampled_from(sorted(profile.categories[category].members)))
    spoilt = {category: data.draw(st.sampled_from(NOT_SCORES))}
    items = [replace(i, scores={**i.scores, **spoilt}) if i.member == member else i for i in evidence.members]

    assert not decide(replace(evidence, members=tuple(items)), policy).released


@EXAMPLES
@given(cases(), any_scores, st.data())
def test_a_second_entry_of_a_member_never_opens(case: Case, score: object, data: st.DataObject):
    """Whatever it says."""
    policy, evidence = case
    again = MemberEvidence(data.draw(st.sampled_from(policy.required_members)), dict.fromkeys(CATEGORIES, score))
    known = any(item.member == again.member for item in evidence.members)

    never_opens(policy, evidence, replace(evidence, members=(*evidence.members, again)) if known else evidence)


@EXAMPLES
@given(cases(), any_scores, st.booleans(), st.data())
def test_adding_a_required_member_never_opens(case: Case, score: object, heard: bool, data: st.DataObject):
    """Whether the newcomer has said something or not."""
    policy, evidence = case
    newcomer = MemberEvidence("newcomer", dict.fromkeys(CATEGORIES, score), coverage_complete=True)
    members = (*evidence.members, newcomer) if heard else evidence.members

    never_opens(policy, evidence, replace(evidence, members=members), data.draw(with_newcomer(policy)))


@EXAMPLES
@given(cases(), st.sampled_from(list(Reason)))
def test_adding_an_alarm_never_opens(case: Case, alarm: Reason):
    """It always withholds, even."""
    policy, evidence = case

    assert not decide(replace(evidence, alarms=(*evidence.alarms, alarm)), policy).released


@EXAMPLES
@given(cases(), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 5e-324, math.nan, None])))
def test_a_lower_p_value_never_opens(case: Case, pvalue: float | None):
    """A text that looks less usual, or was not looked at."""
    policy, evidence = case
    lower = pvalue if not (pvalue and valid_score(evidence.ood_pvalue)) else min(pvalue, evidence.ood_pvalue)
    worse = replace(evidence, ood_pvalue=lower if valid_score(evidence.ood_pvalue) else None)

    never_opens(policy, evidence, worse)


@EXAMPLES
@given(cases())
def test_conservative_mode_never_opens(case: Case):
    """It always withholds, even."""
    policy, evidence = case

    assert not decide(replace(evidence, conservative=True), policy).released


@EXAMPLES
@given(cases(), st.sampled_from([CertificateState.NONE, CertificateState.LAPSED, CertificateState.VOID]))
def test_a_lapsed_certificate_never_opens(case: Case, state: CertificateState):
    """Whether the policy asks for one or not."""
    policy, evidence = case

    never_opens(policy, evidence, replace(evidence, certificate=state))


@EXAMPLES
@given(cases(), st.one_of(st.floats(min_value=0), st.floats(0, 3), st.just(math.nan)))
def test_a_larger_extra_margin_never_opens(case: Case, more: float):
    """For any margin that a caller may send: 0 or more, and finite. Others always withhold."""
    policy, evidence = case
    margin = evidence.extra_margin
    base = replace(evidence, extra_margin=margin if 0 <= margin < 1e300 else 0.0)

    never_opens(policy, base, replace(base, extra_margin=base.extra_margin + more))


@EXAMPLES
@given(cases(), st.one_of(st.floats(max_value=-5e-324), st.sampled_from([math.nan, math.inf, 10**400])))
def test_an_impossible_extra_margin_never_opens(case: Case, margin: float):
    """What would loosen the policy, or is no number, always withholds."""
    policy, evidence = case

    assert not decide(replace(evidence, extra_margin=margin), policy).released


@EXAMPLES
@given(cases())
def test_an_empty_panel_withholds(case: Case):
    """No evidence is no agreement, whatever else is well."""
    policy, evidence = case

    assert not decide(replace(evidence, members=()), policy).released


def unordered(verdict: Verdict) -> tuple[object, ...]:
    """A verdict in which only the order of members and categories is lost."""
    results = [replace(result, dissenters=tuple(sorted(result.dissenters))) for result in verdict.categories]
    return replace(verdict, categories=()), {result.category: result for result in results}


@EXAMPLES
@given(cases(), st.data())
def test_order_makes_no_difference(case: Case, data: st.DataObject):
    """Of evidence, of the policy's members, and of its categories."""
    policy, evidence = case

    def shuffled(mapping):  # type: ignore[no-untyped-def]
        return dict(data.draw(st.permutations(list(mapping.items()))))

    profiles = {
        name: replace(
            profile,
            categories=shuffled(
                {c: replace(rule, members=shuffled(rule.members)) for c, rule in profile.categories.items()}
            ),
        )
        for name, profile in policy.profiles.items()
    }
    other = replace(evidence, members=tuple(data.draw(st.permutations(evidence.members))))

    assert unordered(decide(evidence, policy)) == unordered(decide(other, replace(policy, profiles=profiles)))


@EXAMPLES
@given(cases())
def test_strangers_and_shadows_make_no_difference(case: Case):
    """Whoever is not required is not heard."""
    policy, evidence = case
    required = tuple(item for item in evidence.members if item.member in policy.required_members)

    assert decide(evidence, policy) == decide(replace(evidence, members=required), policy)


@EXAMPLES
@given(policies().flatmap(lambda policy: st.tuples(st.just(policy), wild_evidence(policy))))
def test_decide_never_raises(case: Case):
    """Whatever a broken ensemble says, there is a verdict, and it has an explanation."""
    policy, evidence = case

    assert isinstance(decide(evidence, policy), Verdict)


@EXAMPLES
@given(cases())
def test_a_release_has_no_reasons_and_a_withhold_has(case: Case):
    """A verdict explains itself, in the order of the enum, and says what to do."""
    verdict = decide(case[1], case[0])

    assert verdict.released == (verdict.reasons == ()) == (verdict.action is Action.NONE)
    assert [reason for reason in Reason if reason in verdict.reasons] == list(verdict.reasons)


@EXAMPLES
@given(cases())
def test_a_release_means_that_everything_is_well(case: Case):
    """Computed a second time, from the definition: every required member, in every category, and all else."""
    policy, evidence = case
    if not decide(evidence, policy).released:
        return
    profile = policy.profiles[evidence.profile or policy.default_profile]
    needed = profile.tolerance + evidence.extra_margin
    said = {item.member: item for item in evidence.members}
    counts = Counter(item.member for item in evidence.members)

    assert ((), False) == (evidence.alarms, evidence.conservative)
    assert profile.ood_alpha is None or math.log(evidence.ood_pvalue / profile.ood_alpha) > needed
    assert not policy.certificate_required or evidence.certificate in ("VALID", "EXPIRING")
    for category, rule in profile.categories.items():
        panel = 0.0
        for member, dials in rule.members.items():
            item = said[member]
            score = item.scores[category]
            assert (1, None, True, True) == (
                counts[member], item.missing, item.coverage_complete, 0 <= score <= 1 and type(score) is not bool,
            )  # fmt: skip
            llr = dials.score_map.llr(score)
            assert dials.clear_below - llr > needed
            panel += weighted_excess(llr, dials.weight, dials.offset)
        assert rule.release_below - panel > needed - 1e-6 * (1 + panel)


def complete(result: CategoryResult, evidence: Evidence, required: set[str]) -> bool:
    """Whether every required member has given one valid score for all of the text."""
    usable = [
        item.member
        for item in evidence.members
        if item.missing is None and item.coverage_complete and valid_score(item.scores.get(result.category))
    ]
    counts = Counter(item.member for item in evidence.members)
    return all(counts[member] == 1 and member in usable for member in required)


@EXAMPLES
@given(cases())
def test_there_is_a_margin_exactly_while_no_evidence_is_missing(case: Case):
    """A number beside missing evidence would be a lie. A p-value of 0 has no logarithm and counts as none."""
    policy, evidence = case
    verdict = decide(evidence, policy)
    profile = policy.profiles.get(verdict.profile)
    if profile is None:
        assert verdict.margin is None
        return
    gate = profile.ood_alpha is None or (valid_score(evidence.ood_pvalue) and evidence.ood_pvalue > 0)
    whole = [
        complete(result, evidence, set(profile.categories[result.category].members)) for result in verdict.categories
    ]

    assert whole == [result.margin is not None for result in verdict.categories]
    assert (verdict.margin is not None) == (gate and all(whole))
    assert verdict.margin is None or math.isfinite(verdict.margin)


@EXAMPLES
@given(cases())
def test_deciding_twice_gives_the_same_verdict(case: Case):
    """A record decides again to the same verdict."""
    policy, evidence = case

    assert decide(evidence, policy) == decide(evidence, policy)
