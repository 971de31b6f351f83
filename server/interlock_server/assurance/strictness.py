"""Which of two profiles releases less, whatever the evidence."""

from interlock_server.decision.policy import CategoryRule, MemberRule, Profile


def at_least_as_strict(profile: Profile, other: Profile) -> bool:
    """True only if whatever `profile` releases, `other` would release too; False also when that cannot be told."""
    return (
        profile.tolerance >= other.tolerance
        and (profile.ood_alpha or 0.0) >= (other.ood_alpha or 0.0)
        and all(
            category in profile.categories and _rule(profile.categories[category], rule)
            for category, rule in other.categories.items()
        )
    )


def _rule(rule: CategoryRule, other: CategoryRule) -> bool:
    return rule.release_below <= other.release_below and all(
        name in rule.members and _member(rule.members[name], member) for name, member in other.members.items()
    )


def _member(rule: MemberRule, other: MemberRule) -> bool:
    return (
        rule.score_map == other.score_map
        and rule.weight >= other.weight
        and rule.offset <= other.offset
        and rule.clear_below <= other.clear_below
    )
