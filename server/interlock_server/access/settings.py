"""Where the callers are written down."""

from typing import Self

from pydantic import model_validator

from interlock_server.strict import Settings


class AccessSettings(Settings):
    """Without a file, everyone who can connect may screen and report."""

    file: str | None = None
    """The callers (YAML); read again when it changes. It holds digests of tokens, never a token."""
    default_profile: str | None = None
    """Of everyone, where there is no file. It may release more than the policy's default; callers cannot name such a one."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.file is not None and self.default_profile is not None:
            raise ValueError("default_profile: with a file, each caller has one of its own")
        return self
