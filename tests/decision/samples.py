"""Policies and evidence by hand: one category, two members of different kind, and scores whose place is easy to see.

With the identity map, evidence is the score's log-odds. A member is clear below -1; the panel counts what is above -3.
"""

from typing import Any

from interlock_server.decision.evidence import Evidence, MemberEvidence
from interlock_server.decision.policy import CategoryRule, MemberRule, Policy, Profile

SAFE = 0.01  # -4.6 nats: clear, and nothing that the panel counts
SUSPECT = 0.2  # -1.4 nats: clear, but two of them are too much for the panel
HARMFUL = 0.9  # 2.2 nats: not clear
KINDS = {"alpha": "transformer", "beta": "linear", "gamma": "convolution"}


def member_rule(**changes: Any) -> MemberRule:
    return MemberRule(**{"weight": 1.0, "offset": -3.0, "clear_below": -1.0, **changes})


def category_rule(*members: str, **changes: Any) -> CategoryRule:
    rules = {name: member_rule() for name in members or ("alpha", "beta")}
    return CategoryRule(**{"release_below": 2.0, "harmful_at": 6.0, "members": rules, **changes})


def profile(**changes: Any) -> Profile:
    return Profile(**{"categories": {"harm": category_rule()}, **changes})


def policy(rule: CategoryRule | None = None, **changes: Any) -> Policy:
    """One profile with one category; `tolerance` and `ood_alpha` go to the profile."""
    dials = {name: changes.pop(name) for name in ("tolerance", "ood_alpha") if name in changes}
    profiles = {"balanced": profile(categories={"harm": rule or category_rule()}, **dials)}
    return Policy(**{"name": "test", "profiles": profiles, "default_profile": "balanced", "kinds": KINDS, **changes})


def said(member: str, score: Any, **changes: Any) -> MemberEvidence:
    return MemberEvidence(**{"member": member, "scores": {"harm": score}, "coverage_complete": True, **changes})


def evidence(alpha: Any = SAFE, beta: Any = SAFE, *more: MemberEvidence, **changes: Any) -> Evidence:
    """What both members said: a score, or a whole MemberEvidence."""
    items = [
        item if isinstance(item, MemberEvidence) else said(name, item)
        for name, item in (("alpha", alpha), ("beta", beta))
    ]
    return Evidence((*items, *more), **changes)
