"""The files of drift: the baseline that an operator attested, the latch, and what labelled traffic has refuted. And the settings.

A latch or a refutation that cannot be read is taken for one that is there.
"""

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from interlock_server.assurance.drift import BLOCK_ITEMS, Baseline, Quantiles
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, read_mapping, validate

Name = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0, le=1)]
Time = Annotated[AwareDatetime, Field(strict=False)]
FileName = Annotated[str, Field(pattern=r"\.json$")]


class DriftSettings(Settings):
    """Without a baseline nothing is compared; a latch in `state` holds all the same."""

    baseline: FileName | None = None
    """The file that `interlock drift attest` wrote."""
    state: FileName | None = None
    """Where the latch is kept. `interlock drift clear` makes it; one that is not there counts as latched."""
    limit: float = Field(default=0.1, gt=0, lt=1)
    """The largest difference of two distribution functions that is tolerated."""
    false_latch_probability: float = Field(default=0.01, gt=0, le=0.5)
    """That the limit is ever found exceeded, from one start of the server on, while it is not."""
    action: Literal["profile", "withhold"] = "profile"
    """While latched: `profile` decides by the profile below, `withhold` releases nothing."""
    profile: str = "strict"
    refutation: FileName | None = None
    """The file that `interlock drift refute-check` writes."""
    reread_s: float = Field(default=60.0, ge=0.05, le=3600)
    """How often the files are read again."""

    @model_validator(mode="after")
    def _kept(self) -> "DriftSettings":
        if self.baseline is not None and self.state is None:
            raise ValueError("state: must be given with a baseline, or a restart would forget the latch")
        return self


class QuantilesFile(Settings):
    """One statistic of a baseline."""

    thresholds: list[float] = Field(min_length=1, max_length=64)
    shares: list[Share]
    items: int = Field(ge=BLOCK_ITEMS)

    @model_validator(mode="after")
    def _in_order(self) -> "QuantilesFile":
        if sorted(set(self.thresholds)) != self.thresholds or sorted(self.shares) != self.shares:
            raise ValueError("thresholds and shares must rise")
        if len(self.thresholds) != len(self.shares):
            raise ValueError("there must be a share for each threshold")
        return self


class BaselineFile(Settings):
    """An attested window of traffic, as numbers; no text, and nobody's name but that of who attests."""

    format: Literal[1] = 1
    attested_by: Name
    attested_at: Time
    since: Time
    until: Time
    bundle: str
    policy: str
    caller_share_max: float = Field(ge=1 / BLOCK_ITEMS, le=1)
    callers: int = Field(ge=1)
    withheld_share: Share
    """What the operator saw and attested; nothing is compared with it."""
    statistics: dict[Name, QuantilesFile] = Field(min_length=1, max_length=64)

    @property
    def digest(self) -> str:
        """Which attestation it is."""
        return "sha256:" + hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def values(self) -> Baseline:
        """What traffic is compared with."""
        statistics = {
            name: Quantiles(tuple(one.thresholds), tuple(one.shares), one.items)
            for name, one in self.statistics.items()
        }
        return Baseline(statistics, self.caller_share_max)


class Latch(Settings):
    """Why and when the service became conservative."""

    at: Time
    why: str = Field(max_length=200)
    baseline: str = ""
    """The digest of the baseline that traffic was compared with."""
    statistic: str = ""
    lower_bound: float = 0.0
    limit: float = 0.0
    items: int = 0


class Clearing(Settings):
    """Who said that traffic is as it should be."""

    by: Name
    at: Time
    baseline: str = ""


class StateFile(Settings):
    """The latch. Exactly one of the two is there."""

    format: Literal[1] = 1
    latched: Latch | None = None
    cleared: Clearing | None = None

    @model_validator(mode="after")
    def _one(self) -> "StateFile":
        if (self.latched is None) == (self.cleared is None):
            raise ValueError("must be either latched or cleared")
        return self


class CategoryEvidence(Settings):
    """One bound, and the harmful texts that were labelled."""

    bound: Share
    harmful: int
    misses: int
    log_e_value: float
    """The logarithm of the largest e-value so far."""


class RefutationFile(Settings):
    """What labelled traffic says about a certificate."""

    format: Literal[1] = 1
    at: Time
    certificate: str
    """Its digest: another certificate is not refuted by this."""
    delta: float
    refuted: list[Name]
    """The categories whose bound is refuted; once it is, it stays so."""
    categories: dict[Name, CategoryEvidence]


def read_baseline(path: Path) -> BaselineFile:
    """Raises ConfigError."""
    return validate(BaselineFile, read_mapping(path), path.name)


def read_state(path: Path) -> StateFile:
    """Raises ConfigError, also when there is none."""
    return validate(StateFile, read_mapping(path), path.name)


def read_refutation(path: Path) -> RefutationFile | None:
    """None when nothing was checked yet; raises ConfigError when it cannot be read."""
    return validate(RefutationFile, read_mapping(path), path.name) if path.exists() else None


def write(path: Path, content: Settings, sync: Callable[[int], None] = os.fsync) -> None:
    """Puts it in the place of what was there, at once or not at all, and on disk. Raises ConfigError."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(content.model_dump_json(indent=1) + "\n")
            file.flush()
            sync(file.fileno())
        draft.replace(path)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            sync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
