"""What is asked for: per profile and category the miss rate that must not be exceeded. Fixed before any score exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock_server.errors import ConfigError

Targets = Mapping[str, Mapping[str, float | None]]
"""Profile -> `category` or `category@source` -> alpha; None for a profile that is bounded as it is."""

SHIPPED: Mapping[str, Mapping[str, float]] = {
    "balanced": {"violence_injury": 0.10, "hate_harassment": 0.10, "illicit": 0.20, "self_harm": 0.20},
    "cautious": {"violence_injury": 0.07, "hate_harassment": 0.07, "illicit": 0.15, "self_harm": 0.15},
    "strict": {"violence_injury": 0.05, "hate_harassment": 0.05, "illicit": 0.10, "self_harm": 0.10},
}
"""As low as the shipped set can certify with a miss or two allowed; see decision record 013."""


def parse_targets(
    options: Sequence[str], profiles: Mapping[str, Sequence[str]], default_profile: str, fixed: Sequence[str] = ()
) -> Targets:
    """From `[PROFILE:]CATEGORY[@SOURCE]=ALPHA,...`, or what ships where nothing is asked; no dial of `fixed` profiles is set.

    `profiles` names each profile's categories.
    """
    targets: dict[str, dict[str, float | None]] = {}
    for option in options:
        profile, colon, rest = option.rpartition(":")
        mine = targets.setdefault(profile if colon else default_profile, {})
        for part in rest.split(","):
            name, value = _target(part)
            if name in mine:
                raise ConfigError(f"--alpha: {name} stands twice for one profile")
            mine[name] = value
    if both := sorted(set(targets) & set(fixed)):
        raise ConfigError(f"--fixed: the profile {', '.join(both)} has targets too")
    if not options:
        targets = {name: _shipped(name, profiles[name]) for name in profiles if name in SHIPPED}
    as_it_is: Targets = {name: dict.fromkeys(profiles.get(name, ()), None) for name in fixed}
    return _known({**targets, **as_it_is}, profiles)


def _shipped(profile: str, categories: Sequence[str]) -> dict[str, float | None]:
    return {category: alpha for category, alpha in SHIPPED[profile].items() if category in categories}


def _target(part: str) -> tuple[str, float]:
    category, _, text = part.strip().partition("=")
    try:
        alpha = float(text)
    except ValueError:
        raise ConfigError(f"--alpha: {part.strip()!r} is not CATEGORY=ALPHA") from None
    if not 0 < alpha < 1:
        raise ConfigError(f"--alpha: {category}: must be between 0 and 1")
    return category, alpha


def _known(targets: Targets, profiles: Mapping[str, Sequence[str]]) -> Targets:
    for profile, row in targets.items():
        if profile not in profiles:
            raise ConfigError(f"the policy has no profile {profile!r}; it has {', '.join(profiles)}")
        if unknown := sorted({name.partition("@")[0] for name in row} - set(profiles[profile])):
            raise ConfigError(f"--alpha: the profile {profile} has no category {', '.join(unknown)}")
    if not any(targets.values()):
        raise ConfigError("--alpha: nothing is asked; name a miss rate for some category")
    return targets
