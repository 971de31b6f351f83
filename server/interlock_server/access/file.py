"""The file of callers: YAML into callers. A name, a token or a certificate that stands twice is an error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from interlock_server.access.callers import Caller, DetailName, Scope
from interlock_server.access.quotas import Allowance, QuotaSettings
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, read_mapping, validate

_SIZE_MAX = 4 * 1024 * 1024
_CALLERS_MAX = 256  # every token is compared with every digest
_OTHERS_MAY_WRITE = 0o002

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Profile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_Language = Annotated[str, StringConstraints(pattern=r"^(default|[a-z]{2,3}(-[a-z0-9]{2,8})?)$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
_Subject = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class CallerSettings(Settings):
    """One caller: how it is known, and what it may do."""

    name: _Name
    token_sha256: list[_Digest] = Field(default=[], max_length=4)
    """Several while one replaces the other."""
    subjects: list[_Subject] = Field(default=[], max_length=8)
    """Names in its client certificate: the alternative names, or the common name where there are none."""
    scopes: list[Scope] = Field(min_length=1)
    detail_max: DetailName | None = None
    default_profile: _Profile | None = None
    profiles: list[_Profile] = Field(default=[], max_length=32)
    fallback_texts: dict[_Language, _Text] = Field(default={}, max_length=64)
    quota: QuotaSettings = QuotaSettings()

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if not (self.token_sha256 or self.subjects):
            raise ValueError("has neither token_sha256 nor subjects: nobody could be this caller")
        if self.profiles and self.default_profile not in self.profiles:
            raise ValueError("default_profile must be one of profiles")
        if "admin" in self.scopes and len(self.scopes) > 1:
            raise ValueError("scopes: admin goes with no other; generators must not hold the token of an operator")
        return self


class AccessFile(Settings):
    """All callers."""

    format: int = Field(ge=1, le=1)
    callers: list[CallerSettings] = Field(min_length=1, max_length=_CALLERS_MAX)

    @field_validator("callers")
    @classmethod
    def _each_once(cls, callers: list[CallerSettings]) -> list[CallerSettings]:
        names = [caller.name for caller in callers]
        digests = [digest for caller in callers for digest in caller.token_sha256]
        subjects = [subject for caller in callers for subject in caller.subjects]
        for field, values in (("name", names), ("token_sha256", digests), ("subjects", subjects)):
            if len(set(values)) < len(values):
                raise ValueError(f"{field}: the same one stands twice")
        return callers


@dataclass(frozen=True)
class Callers:
    """Who is known, and by what."""

    by_name: Mapping[str, Caller]
    by_digest: tuple[tuple[str, Caller], ...]
    by_subject: Mapping[str, Caller]


def read_callers(path: Path, before: Callers | None = None) -> Callers:
    """The callers in a file; what is left of an unchanged quota stays. Raises ConfigError."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from error
    if status.st_mode & _OTHERS_MAY_WRITE:
        raise ConfigError(f"{path.name}: everyone may write it; take that right away")
    if status.st_size > _SIZE_MAX:
        raise ConfigError(f"{path.name}: is larger than {_SIZE_MAX} bytes")
    content = validate(AccessFile, read_mapping(path), path.name)
    callers = {item.name: _caller(item, before.by_name.get(item.name) if before else None) for item in content.callers}
    return Callers(
        by_name=callers,
        by_digest=tuple((digest, callers[item.name]) for item in content.callers for digest in item.token_sha256),
        by_subject={subject: callers[item.name] for item in content.callers for subject in item.subjects},
    )


def _caller(item: CallerSettings, before: Caller | None) -> Caller:
    kept = before is not None and before.allowance.quota == item.quota
    return Caller(
        name=item.name,
        scopes=frozenset(item.scopes),
        detail_max=item.detail_max,
        default_profile=item.default_profile or "",
        profiles=frozenset(item.profiles),
        fallback_texts=item.fallback_texts,
        allowance=before.allowance if kept and before else Allowance(item.quota),
    )
