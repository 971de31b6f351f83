"""Any policy that loads, any evidence, and any way to make evidence or policy worse; for hypothesis.

Most evidence is nearly releasable, and then spoilt in a few places: a property about RELEASE must see many of them.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from interlock_server.decision.evidence import CertificateState, Evidence, MemberEvidence, MissingCause, valid_score
from interlock_server.decision.panel_score import IDENTITY_MAP, VALUE_MAX, ScoreMap, weighted_excess
from interlock_server.decision.policy import CategoryRule, MemberRule, Policy, PolicyError, Profile
from interlock_server.decision.verdict import Action, Reason

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)

MEMBERS = ("alpha", "beta", "gamma")
CATEGORIES = ("harm", "hate")
NUMBERS = ("weight", "offset", "clear_below", "release_below", "harmful_at", "tolerance", "ood_alpha")
NOT_SCORES = (math.nan, math.inf, -math.inf, -0.1, 1.1, 2, -1, True, False, None, "0.1", 10**400)

valid_scores = st.one_of(st.floats(0, 1), st.sampled_from([0, 1, 0.0, 1.0, 0.5, 1e-7, 5e-324]))
low_scores = st.one_of(st.sampled_from([0.0, 0.0, 1e-6, 1e-4]), st.floats(0, 0.02))
any_scores = st.one_of(valid_scores, st.sampled_from(NOT_SCORES))


STEEP_OR_FLAT = (
    IDENTITY_MAP,
    ScoreMap((-1e6, 1e6), (-1e6, 1e6)),
    ScoreMap((0.0, 1e-4), (-1.0, 1.0)),
    ScoreMap((-14.0, 14.0), (0.0, 1e-9)),
    ScoreMap((-1e6, -20.0, 20.0, 1e6), (-5.0, -4.0, 4.0, 5.0)),
    ScoreMap((-13.8, -13.7, 13.7, 13.8), (-5e5, 0.0, 1.0, 5e5)),
)


@st.composite
def any_map(draw: st.DrawFn) -> ScoreMap:
    """Few or many knots, steep or flat, within or far outside of what a score can be."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(STEEP_OR_FLAT))
    count = draw(st.integers(2, 4))
    widths = draw(st.lists(st.floats(0.05, 6), min_size=count, max_size=count))
    rises = draw(st.lists(st.floats(1e-6, 6), min_size=count, max_size=count))
    return ScoreMap(tuple(accumulate(widths, initial=-14.0))[1:], tuple(accumulate(rises, initial=-8.0))[1:])


@st.composite
def member_rules(draw: st.DrawFn, tolerance: float) -> MemberRule:
    """A threshold anywhere between the lowest and the highest evidence; weights and offsets of any size."""
    score_map = draw(any_map())
    if score_map.llr_max - score_map.llr_min <= tolerance:
        score_map = IDENTITY_MAP
    low, high = score_map.llr_min, score_map.llr_max
    weight = draw(st.one_of(st.floats(0, 3), st.sampled_from([0.0, 1.0, 1e6])))
    offset = draw(st.one_of(st.floats(-20, 20), st.sampled_from([-1e6, 0.0, 1e6, low, high])))
    share = draw(st.one_of(st.floats(0.3, 1), st.floats(1e-6, 1)))
    threshold = min(low + tolerance + share * (high - low - tolerance), high)
    return MemberRule(weight, offset, threshold if threshold - low > tolerance else high, score_map)


def without_floor(rule: MemberRule) -> MemberRule:
    """The same rule, counting nothing when the score is 0."""
    return replace(rule, offset=max(rule.offset, rule.score_map.llr_min))


@st.composite
def category_rules(
    draw: st.DrawFn, kinds: Mapping[str, str], shadow: tuple[str, ...], tolerance: float
) -> CategoryRule:
    """Dials anywhere above the lowest panel score."""
    names = draw(st.lists(st.sampled_from(sorted(set(kinds) - set(shadow))), min_size=1, unique=True))
    rules = {name: draw(member_rules(tolerance)) for name in names}
    if not any(rule.weight for rule in rules.values()):
        rules[names[0]] = replace(rules[names[0]], weight=1.0)
    if lowest_score(rules) > VALUE_MAX / 2:
        rules = {name: without_floor(rule) for name, rule in rules.items()}
    release_below = lowest_score(rules) + tolerance + draw(st.one_of(st.floats(0.5, 20), st.floats(1e-6, 1e3)))
    harmful_at = release_below + draw(st.one_of(st.just(0.0), st.floats(0, 20)))
    alone = len({kinds[name] for name in names}) < 2
    return CategoryRule(release_below, harmful_at, rules, single_member_acknowledged=alone or draw(st.booleans()))


def lowest_score(rules: Mapping[str, MemberRule]) -> float:
    """The panel's score when every member scores 0."""
    return math.fsum(weighted_excess(rule.score_map.llr_min, rule.weight, rule.offset) for rule in rules.values())


@st.composite
def profiles(draw: st.DrawFn, kinds: Mapping[str, str], shadow: tuple[str, ...]) -> Profile:
    tolerance = draw(st.one_of(st.sampled_from([0.0, 0.05]), st.floats(0, 2)))
    categories = draw(st.sampled_from([CATEGORIES[:1], CATEGORIES[1:], CATEGORIES]))
    rules = {category: draw(category_rules(kinds, shadow, tolerance)) for category in categories}
    limit = math.exp(-tolerance)
    gate = draw(st.one_of(st.none(), st.floats(1e-6, 0.99).map(lambda share: share * limit), st.just(1e-300)))
    return Profile(rules, tolerance, gate)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that loads; which is any that can be constructed."""
    kinds = {name: draw(st.sampled_from(["transformer", "convolution", "linear"])) for name in MEMBERS}
    shadow = draw(st.sampled_from([(), (), MEMBERS[:1], MEMBERS[1:]]))
    names = draw(st.sampled_from([["balanced"], ["balanced"], ["balanced", "strict"]]))
    actions = st.dictionaries(st.sampled_from(list(Reason)), st.sampled_from(list(Action)[1:]), max_size=3)
    return Policy(
        name="any",
        profiles={name: draw(profiles(kinds, shadow)) for name in names},
        default_profile=names[0],
        kinds=kinds,
        shadow=shadow,
        certificate_required=draw(st.booleans()),
        margin_comparable=draw(st.booleans()),
        actions=draw(actions),
    )


@st.composite
def edge_policies(draw: st.DrawFn, field: str) -> Policy | None:
    """A policy with one number replaced by any other, if it still loads: so that what loads is decided by Policy alone."""
    policy = draw(policies())
    name = draw(st.sampled_from(sorted(policy.profiles)))
    profile = policy.profiles[name]
    category = draw(st.sampled_from(sorted(profile.categories)))
    rule = profile.categories[category]
    member = draw(st.sampled_from(sorted(rule.members)))
    score_map = rule.members[member].score_map
    edges = {
        "clear_below": [score_map.llr_min, score_map.llr_max],
        "release_below": [lowest_score(rule.members), rule.harmful_at],
        "ood_alpha": [math.exp(-profile.tolerance), 0.0, 1.0],
        "tolerance": [0.0, rule.release_below - lowest_score(rule.members)],
    }.get(field, [0.0, score_map.llr_min])
    steps = [0.0, 1e-9, -1e-9, 0.1, -0.1, profile.tolerance, profile.tolerance / 2]
    near = st.builds(operator.add, st.sampled_from(edges), st.sampled_from(steps))
    value = draw(st.one_of(near, near, st.floats()))
    if field in ("tolerance", "ood_alpha"):
        profile = replace(profile, **{field: value})
    else:
        changed = changed_rule(rule, member, field, value)
        profile = replace(profile, categories={**profile.categories, category: changed})
    try:
        return replace(policy, profiles={**policy.profiles, name: profile})
    except PolicyError:
        return None


def changed_rule(rule: CategoryRule, member: str, field: str, value: float) -> CategoryRule:
    """The rule with one number replaced, its own or a member's."""
    if field in ("release_below", "harmful_at"):
        return replace(rule, **{field: value})
    return replace(rule, members={**rule.members, member: replace(rule.members[member], **{field: value})})


@st.composite
def calm_evidence(draw: st.DrawFn, policy: Policy, scores: st.SearchStrategy[Any] = low_scores) -> Evidence:
    """Every member has answered, and nothing is wrong but what the scores say."""
    items = [
        MemberEvidence(name, {category: draw(scores) for category in CATEGORIES}, coverage_complete=True)
        for name in policy.members
    ]
    return Evidence(
        members=tuple(draw(st.permutations(items))),
        profile=draw(st.sampled_from(["", *policy.profiles])),
        extra_margin=draw(st.sampled_from([0.0, 0.0, 0.01, 1.0])),
        ood_pvalue=draw(st.sampled_from([1.0, 1, 0.9])),
        certificate=draw(st.sampled_from([CertificateState.VALID] * 6 + list(CertificateState))),
    )


@st.composite
def wild_members(draw: st.DrawFn) -> tuple[MemberEvidence, ...]:
    """Anything that a broken ensemble may say: members that are missing, unknown, there twice, or no numbers."""
    item = st.builds(
        MemberEvidence,
        st.sampled_from([*MEMBERS, "omega"]),
        st.dictionaries(st.sampled_from([*CATEGORIES, "other"]), any_scores),
        st.one_of(st.none(), st.sampled_from(list(MissingCause))),
        st.booleans(),
    )
    return tuple(draw(st.lists(item, max_size=7)))


@st.composite
def wild_evidence(draw: st.DrawFn, policy: Policy) -> Evidence:
    """Nothing that can be put into the fields is left out."""
    return Evidence(
        members=draw(wild_members()),
        profile=draw(st.sampled_from(["", "unknown", *policy.profiles])),
        extra_margin=draw(st.one_of(st.floats(), st.sampled_from([-0.1, 0, 10**400, -(10**400)]))),
        alarms=tuple(draw(st.lists(st.sampled_from(list(Reason)), max_size=3))),
        ood_pvalue=draw(st.one_of(st.none(), st.floats(), any_scores)),
        certificate=draw(st.sampled_from(list(CertificateState))),
        conservative=draw(st.booleans()),
    )


@st.composite
def spoilt_evidence(draw: st.DrawFn, policy: Policy) -> Evidence:
    """Calm evidence in which one thing is wrong, or two."""
    calm = draw(calm_evidence(policy))
    items = list(calm.members)
    place = draw(st.sampled_from(range(len(items))))
    item = items[place]
    spoilt = draw(
        st.sampled_from(
            [
                [replace(item, scores={**item.scores, draw(st.sampled_from(CATEGORIES)): draw(any_scores)})],
                [replace(item, missing=draw(st.sampled_from(list(MissingCause))))],
                [replace(item, coverage_complete=False)],
                [item, item],
                [item, *draw(wild_members())[:2]],
                [],
            ]
        )
    )
    return replace(calm, members=(*items[:place], *spoilt, *items[place + 1 :]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Policy, Evidence]:
    """A policy and evidence for it: half of it calm, the rest suspicious, spoilt or wild."""
    policy = draw(policies())
    kind = draw(st.sampled_from(["calm", "calm", "calm", "scored", "spoilt", "wild"]))
    strategy = {
        "calm": calm_evidence(policy),
        "scored": calm_evidence(policy, valid_scores),
        "spoilt": spoilt_evidence(policy),
        "wild": wild_evidence(policy),
    }[kind]
    return policy, draw(strategy)


@st.composite
def raised(draw: st.DrawFn, evidence: Evidence) -> Evidence:
    """The same evidence with some valid scores higher: by one step, by some, to 1, or beyond what a score can be."""

    def higher(score: Any) -> Any:
        if not valid_score(score) or draw(st.booleans()):
            return score
        between = score + (1 - score) * draw(st.floats(0, 1))
        return draw(st.sampled_from([math.nextafter(score, 2), max(between, score), 1.0, 1.5, math.inf]))

    items = [replace(item, scores={c: higher(s) for c, s in item.scores.items()}) for item in evidence.members]
    return replace(evidence, members=tuple(items))


@st.composite
def with_newcomer(draw: st.DrawFn, policy: Policy) -> Policy:
    """The same policy with one more required member in some categories of every profile."""
    profiles = {}
    for name, profile in policy.profiles.items():
        first, *others = draw(st.permutations(sorted(profile.categories)))
        rules = dict(profile.categories)
        for category in (first, *(other for other in others if draw(st.booleans()))):
            rules[category] = grown(rules[category], draw(member_rules(profile.tolerance)), profile.tolerance)
        profiles[name] = replace(profile, categories=rules)
    return replace(policy, profiles=profiles, kinds={**policy.kinds, "newcomer": "nearest_neighbour"})


def grown(rule: CategoryRule, newcomer: MemberRule, tolerance: float) -> CategoryRule:
    """The rule with a newcomer, whose lowest share must leave room below the dial."""
    members = {**rule.members, "newcomer": newcomer}
    if not rule.release_below - lowest_score(members) > tolerance:
        members["newcomer"] = without_floor(newcomer)
    return replace(rule, members=members)
