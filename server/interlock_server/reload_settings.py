"""The settings of reloading and of a policy on trial."""

from typing import Annotated

from pydantic import Field

from interlock_server.strict import Settings


class ReloadSettings(Settings):
    """SIGHUP and the admin RPC reload in any case."""

    watch_s: float | None = Field(default=None, ge=0.02, le=3_600)
    """How often the files are looked at; without it nobody watches them."""
    settle_s: float = Field(default=2.0, ge=0, le=600)
    """How long a file that is watched must have been as it is before it is taken: somebody may still be writing it."""
    memory_factor: float = Field(default=3.0, ge=0, le=100)
    """Memory that a second set of models needs for each byte of its files; it is loaded only if there is as much."""
    load_s: float = Field(default=300.0, gt=0, le=3_600)
    """How long loading and checking another set of models may take."""
    state: Annotated[str, Field(pattern=r"\.json$")] | None = None
    """Where promotions are kept. Without it a restart goes back to what the configuration says."""


class CanarySettings(Settings):
    """A policy on trial: for a share of the conversations its WITHHOLD counts, its RELEASE never."""

    policy: str
    certificate: str | None = None
    """The certificate of that policy, for when it is promoted."""
    share: float = Field(default=0.05, ge=0, le=1)
    verdicts_min: int = Field(default=1_000, ge=0, le=1_000_000_000)
    """How many verdicts it must have seen to be promoted."""
