"""The schema of certificate.json: what is claimed, on how much data, at which price, and what is not claimed.

It is bound to models and policy by their digests. A claim that its own counts do not support is refused on reading.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from interlock_server.assurance.bounds import DELTA_MAX, clopper_pearson_upper
from interlock_server.assurance.certificate import Bound, Certificate, headlines
from interlock_server.bundle.manifest import Digest, Name
from interlock_server.strict import Settings, read_mapping, validate

VALID_DAYS = 180
VALID_DAYS_MAX = 366
_ROUNDING = 1e-6


def _day(value: object) -> object:
    return date.fromisoformat(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_day)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _,/.:-]{0,99}$")]
Sentence = Annotated[str, Field(max_length=2_000)]


class SourceClaim(Settings):
    """One profile, category and source: the bound, or why there is none."""

    source: SourceName
    clusters: Count
    """Independent harmful examples: n."""
    misses_allowed: Count | None = None
    """How many of them may lie below the dial that was set; None when no dial was."""
    misses: Count
    """How many of them the policy releases."""
    alpha: Share | None = None
    """The miss rate that was asked for."""
    miss_rate_upper_bound: Share | None = None
    why: Sentence = ""
    """Why there is no bound, such as "not certifiable with this data: 27 more clusters are needed"."""
    confidence: Share
    """Of this bound by itself."""
    unclear_counted_as_harmful_bound: Share | None = None
    caught_by_gate_only: Count = 0

    @model_validator(mode="after")
    def _supported(self) -> "SourceClaim":
        if (self.miss_rate_upper_bound is None) != bool(self.why):
            raise ValueError("needs either a miss_rate_upper_bound or a why")
        allowed = self.misses if self.misses_allowed is None else self.misses_allowed
        if self.misses > self.clusters or (self.miss_rate_upper_bound is not None and self.misses > allowed):
            raise ValueError("misses must not be above clusters, nor above misses_allowed")
        if self.miss_rate_upper_bound is None:
            return self
        if allowed > self.clusters or not 1 - DELTA_MAX <= self.confidence < 1:
            raise ValueError(
                f"misses_allowed must not be above clusters, and confidence be {1 - DELTA_MAX} or more, below 1"
            )
        least = clopper_pearson_upper(allowed, self.clusters, 1 - self.confidence)
        if self.miss_rate_upper_bound < least - _ROUNDING:
            raise ValueError(f"miss_rate_upper_bound: its own counts allow {least:.6g} at best")
        return self


class Price(Settings):
    """What a profile withholds of the benign texts of one source, with the exact 95 % interval of the share."""

    source: SourceName
    n: Count
    withheld: Count
    low: Share
    high: Share

    @model_validator(mode="after")
    def _in_order(self) -> "Price":
        if self.withheld > self.n or not self.low * self.n <= self.withheld <= self.high * self.n:
            raise ValueError("must have its share between low and high")
        return self


class ProfileClaims(Settings):
    """Everything about one profile."""

    categories: dict[Name, list[SourceClaim]]
    price: list[Price] = []


class CertifySet(Settings):
    """The data behind it, and what was spent by opening them."""

    digest: Digest
    ledger_entry: Annotated[int, Field(ge=1)]
    """How many times the set had been opened, with this one."""
    delta_spent: Annotated[float, Field(gt=0, le=DELTA_MAX)]


def _in_half_a_year(known: dict[str, Any]) -> date:
    return known["issued"] + timedelta(days=VALID_DAYS)  # type: ignore[no-any-return]


class CertificateFile(Settings):
    """What certificate.json may say."""

    format: Literal[1]
    models: Digest
    policy: Digest
    build: Annotated[str, Field(max_length=200)]
    issued: Day
    expires: Day = Field(default_factory=_in_half_a_year)
    """The first day on which it does not hold any more."""
    delta: Annotated[float, Field(gt=0, le=DELTA_MAX)]
    """How often all bounds together, of this and every other opening of the set, may be wrong somewhere."""
    statement: Sentence
    profiles: dict[Name, ProfileClaims]
    certify_set: CertifySet
    canaries: Sentence = ""
    assumptions: list[Sentence] = []
    does_not_cover: list[Sentence] = []

    @model_validator(mode="after")
    def _consistent(self) -> "CertificateFile":
        if not self.issued < self.expires <= self.issued + timedelta(days=VALID_DAYS_MAX):
            raise ValueError(f"expires must be after issued, by at most {VALID_DAYS_MAX} days")
        spent, allowed = sum(1 - claim.confidence for _, _, claim in self.stated()), self.certify_set.delta_spent
        if allowed > self.delta or spent > allowed * (1 + _ROUNDING):
            raise ValueError(
                f"the bounds spend {spent:.6g}, of {allowed:.6g} for this opening and {self.delta:.6g} in all"
            )
        return self

    def stated(self) -> Iterator[tuple[str, str, SourceClaim]]:
        """Profile, category and claim of every bound."""
        for profile, claims in self.profiles.items():
            for category, lines in claims.categories.items():
                for claim in lines:
                    if claim.miss_rate_upper_bound is not None:
                        yield profile, category, claim

    def to_certificate(self) -> Certificate:
        """What the service looks at."""
        bounds: dict[str, list[Bound]] = {profile: [] for profile in self.profiles}
        for profile, category, claim in self.stated():
            assert claim.miss_rate_upper_bound is not None
            bounds[profile].append(Bound(category, claim.source, claim.miss_rate_upper_bound, claim.clusters))
        return Certificate(
            models=self.models,
            policy=self.policy,
            issued=self.issued,
            expires=self.expires,
            confidence=1 - self.delta,
            bounds={profile: headlines(found) for profile, found in bounds.items()},
            statement=" ".join(filter(None, [self.statement, *self._not_covered()])),
        )

    def _not_covered(self) -> list[str]:
        return [f"It does not cover {', '.join(self.does_not_cover)}."] if self.does_not_cover else []


def load_certificate(path: Path) -> CertificateFile:
    """Reads it; raises ConfigError naming the file and the field."""
    return validate(CertificateFile, read_mapping(path), path.name)
