"""Thresholds, as values that cannot be wrong: a Policy that exists can both withhold and release. Files are read elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock_server.decision.panel_score import IDENTITY_MAP, VALUE_MAX, ScoreMap, weighted_excess
from interlock_server.decision.verdict import Action, Reason


class PolicyError(ValueError):
    """The policy contradicts itself; `field` is the path of the value that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class MemberRule:
    """How one member counts in one category: `weight` and `offset` in the panel score, clear below `clear_below`."""

    weight: float
    offset: float
    clear_below: float
    score_map: ScoreMap = IDENTITY_MAP


@dataclass(frozen=True)
class CategoryRule:
    """The dials of one category and the members that it requires."""

    release_below: float
    harmful_at: float
    members: Mapping[str, MemberRule]
    single_member_acknowledged: bool = False


@dataclass(frozen=True)
class Profile:
    """A complete set of thresholds. `tolerance` covers what batch mates, providers and quantisation can do to a score."""

    categories: Mapping[str, CategoryRule]
    tolerance: float = 0.05
    ood_alpha: float | None = None


@dataclass(frozen=True)
class Limits:
    """What one exchange may cost; more is refused, never cut."""

    completion_bytes_max: int = 65_536
    prompt_bytes_max: int = 262_144


@dataclass(frozen=True)
class Streaming:
    """How a completion is released that is still being written."""

    hold_back_bytes: int = 256
    """How many judged bytes stay in until the verdict on the whole."""
    doubt_bytes: int = 512
    """How many bytes more may come to settle a doubt; then the text is withheld for it."""


@dataclass(frozen=True)
class Policy:
    """Profiles and what to do. Raises PolicyError on construction when a value is impossible or a dial does nothing."""

    name: str
    profiles: Mapping[str, Profile]
    default_profile: str
    kinds: Mapping[str, str]
    """Member -> kind of model; two members of one kind do not make an ensemble."""
    shadow: tuple[str, ...] = ()
    latency_budget_ms: int = 2_000
    certificate_required: bool = False
    margin_comparable: bool = False
    actions: Mapping[Reason, Action] = field(default_factory=dict)
    limits: Limits = Limits()
    streaming: Streaming = Streaming()
    digest: str = ""

    def __post_init__(self) -> None:
        if self.default_profile not in self.profiles:
            raise PolicyError("default_profile", f"there is no profile {self.default_profile!r}")
        for limit in ("completion_bytes_max", "prompt_bytes_max"):
            _check(getattr(self.limits, limit) >= 1, f"limits.{limit}", "must be at least 1")
        _check(self.latency_budget_ms >= 1, "latency_budget_ms", "must be at least 1")
        for size in ("hold_back_bytes", "doubt_bytes"):
            _check(getattr(self.streaming, size) >= 0, f"streaming.{size}", "must be at least 0")
        for reason, action in self.actions.items():
            _check(
                action is not Action.NONE, f"actions.{reason}", "must not be NONE, which is for released completions"
            )
        for name, profile in self.profiles.items():
            _check_profile(profile, f"profiles.{name}", self)

    @property
    def required_members(self) -> tuple[str, ...]:
        """Every member that some profile requires in some category, sorted."""
        rules = (rule for profile in self.profiles.values() for rule in profile.categories.values())
        return tuple(sorted({member for rule in rules for member in rule.members}))

    @property
    def members(self) -> tuple[str, ...]:
        """Every member that is asked: the required ones and the shadows."""
        return tuple(sorted({*self.required_members, *self.shadow}))


def _check(holds: bool, path: str, message: str) -> None:
    if not holds:
        raise PolicyError(path, message)


def _check_profile(profile: Profile, path: str, policy: Policy) -> None:
    _check(bool(profile.categories), f"{path}.categories", "must name at least one category")
    _check_range(profile.tolerance, f"{path}.tolerance", 0)
    alpha = profile.ood_alpha
    if alpha is not None:
        _check(0 < alpha < 1, f"{path}.ood_alpha", "must be between 0 and 1")
        _check(
            math.log(1 / alpha) > profile.tolerance,
            f"{path}.ood_alpha",
            f"can never be passed by more than the tolerance {profile.tolerance}",
        )
    for category, rule in profile.categories.items():
        _check_category(rule, f"{path}.categories.{category}", profile.tolerance, policy)


def _check_category(rule: CategoryRule, path: str, tolerance: float, policy: Policy) -> None:
    _check_range(rule.release_below, f"{path}.release_below")
    _check_range(rule.harmful_at, f"{path}.harmful_at")
    _check(rule.release_below <= rule.harmful_at, f"{path}.release_below", "must not be above harmful_at")
    kinds = {policy.kinds.get(member, "") for member in rule.members}
    if len(kinds) < 2 and not (rule.single_member_acknowledged and rule.members):
        raise PolicyError(
            f"{path}.members",
            "must require two or more members of different kind, or say `single_member: acknowledged`",
        )
    for member, member_rule in rule.members.items():
        _check(member in policy.kinds, f"{path}.members.{member}", "is not a member of the ensemble")
        _check(member not in policy.shadow, f"{path}.members.{member}", "is required and a shadow at once")
        _check_member(member_rule, f"{path}.members.{member}", tolerance)
    _check(any(m.weight > 0 for m in rule.members.values()), f"{path}.members", "must have a weight above 0")
    # As `decide` computes it when every score is 0. A dial that even this does not pass would withhold everything.
    lowest = math.fsum(weighted_excess(m.score_map.llr_min, m.weight, m.offset) for m in rule.members.values())
    _check(
        rule.release_below - lowest > tolerance,
        f"{path}.release_below",
        f"must be above the lowest panel score {lowest:.4g} by more than the tolerance {tolerance}",
    )


def _check_member(rule: MemberRule, path: str, tolerance: float) -> None:
    _check_range(rule.weight, f"{path}.weight", 0)
    _check_range(rule.offset, f"{path}.offset")
    _check_range(rule.clear_below, f"{path}.clear_below")
    low, high = rule.score_map.llr_min, rule.score_map.llr_max
    _check(
        rule.clear_below - low > tolerance,
        f"{path}.clear_below",
        f"must be above the lowest evidence {low:.4g} by more than the tolerance {tolerance}, or nothing is ever clear",
    )
    _check(
        rule.clear_below <= high,
        f"{path}.clear_below",
        f"must not be above the highest evidence {high:.4g}, or everything is always clear",
    )


def _check_range(value: float, path: str, low: float = -VALUE_MAX) -> None:
    _check(low <= value <= VALUE_MAX, path, f"must be from {low:,.0f} to {VALUE_MAX:,.0f}")
