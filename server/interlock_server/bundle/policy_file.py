"""From policy.yaml and the members of a bundle to a Policy; every message names the file and the field."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from interlock_server.bundle.manifest import Manifest, Name
from interlock_server.decision.policy import CategoryRule, Limits, MemberRule, Policy, PolicyError, Profile, Streaming
from interlock_server.decision.verdict import Action, Reason
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, read_mapping, validate

Size = Annotated[int, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]


class MemberRuleFile(Settings):
    """How one member counts in one category, in nats."""

    weight: float
    offset: float
    clear_below: float


class CategoryRuleFile(Settings):
    """The dials of one category, and the members that it requires."""

    release_below: float
    harmful_at: float
    members: dict[Name, MemberRuleFile]
    single_member: Literal["acknowledged"] | None = None


class ProfileFile(Settings):
    """A complete set of thresholds."""

    tolerance: float = 0.05
    ood_alpha: float | None = None
    categories: dict[Name, CategoryRuleFile]


class LimitsFile(Settings):
    """What one exchange may cost."""

    completion_bytes_max: Positive = Limits.completion_bytes_max
    prompt_bytes_max: Positive = Limits.prompt_bytes_max


class StreamingFile(Settings):
    """How a completion is released that is still being written."""

    hold_back_bytes: Size = Streaming.hold_back_bytes
    doubt_bytes: Size = Streaming.doubt_bytes


class PolicyFile(Settings):
    """What policy.yaml may say."""

    format: Literal[1]
    name: Name
    default_profile: Name
    profiles: dict[Name, ProfileFile]
    shadow: list[Name] = []
    latency_budget_ms: Positive = 2_000
    certificate: Literal["alarm", "require"] = "alarm"
    margin_comparable: bool = False
    actions: dict[Annotated[Reason, Field(strict=False)], Annotated[Action, Field(strict=False)]] = {}
    limits: LimitsFile = LimitsFile()
    streaming: StreamingFile = StreamingFile()


def load_policy(path: Path, manifest: Manifest) -> Policy:
    """The policy, bound to the score maps of the bundle; raises ConfigError when either does not fit the other."""
    file = validate(PolicyFile, read_mapping(path), path.name)
    _check_against(file, manifest, path.name)
    try:
        return Policy(
            name=file.name,
            profiles={name: _profile(profile, manifest) for name, profile in file.profiles.items()},
            default_profile=file.default_profile,
            kinds={member.name: member.kind for member in manifest.members},
            shadow=tuple(file.shadow),
            latency_budget_ms=file.latency_budget_ms,
            certificate_required=file.certificate == "require",
            margin_comparable=file.margin_comparable,
            actions=file.actions,
            limits=Limits(file.limits.completion_bytes_max, file.limits.prompt_bytes_max),
            streaming=Streaming(file.streaming.hold_back_bytes, file.streaming.doubt_bytes),
            digest=_digest(file, manifest),
        )
    except PolicyError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _check_against(file: PolicyFile, manifest: Manifest, source: str) -> None:
    covers = {member.name: set(member.categories) for member in manifest.members}
    known = ", ".join(sorted(covers))
    for name in file.shadow:
        if name not in covers:
            raise ConfigError(f"{source}: shadow: the bundle has no member {name!r}; it has {known}")
    for profile_name, profile in file.profiles.items():
        path = f"profiles.{profile_name}.categories"
        if absent := sorted(set(manifest.categories) - set(profile.categories)):
            raise ConfigError(f"{source}: {path}: has no rule for {', '.join(absent)}")
        for category, rule in profile.categories.items():
            if category not in manifest.categories:
                raise ConfigError(f"{source}: {path}.{category}: the bundle has no such category")
            for member in rule.members:
                where = f"{source}: {path}.{category}.members.{member}"
                if member not in covers:
                    raise ConfigError(f"{where}: the bundle has no such member; it has {known}")
                if category not in covers[member]:
                    raise ConfigError(f"{where}: does not cover {category}")


def _profile(file: ProfileFile, manifest: Manifest) -> Profile:
    maps = {member.name: member.score_maps for member in manifest.members}
    return Profile(
        categories={
            category: CategoryRule(
                release_below=rule.release_below,
                harmful_at=rule.harmful_at,
                members={
                    name: MemberRule(m.weight, m.offset, m.clear_below, maps[name][category].to_map())
                    for name, m in rule.members.items()
                },
                single_member_acknowledged=rule.single_member is not None,
            )
            for category, rule in file.categories.items()
        },
        tolerance=file.tolerance,
        ood_alpha=file.ood_alpha,
    )


def _digest(file: PolicyFile, manifest: Manifest) -> str:
    """Of everything that turns scores into a verdict: the policy and the score maps of every member."""
    maps = {m.name: {c: s.model_dump() for c, s in m.score_maps.items()} for m in manifest.members}
    content = json.dumps([file.model_dump(mode="json"), maps], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()
