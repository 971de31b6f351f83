"""What an operator decided about a policy on trial, for as long as the configuration still calls it that."""

from pathlib import Path
from typing import Literal

from interlock_server.drift_files import Time, write
from interlock_server.errors import ConfigError
from interlock_server.strict import Settings, read_mapping, validate


class Decree(Settings):
    """Of one policy, by its digest; any other policy is not meant."""

    format: Literal[1] = 1
    policy: str
    verdict: Literal["promoted", "aborted"]
    at: Time


class Decrees:
    """The decree in force, in a file if there is one, so that it outlives the process. Its methods raise ConfigError."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path is not None else None
        self.current: Decree | None = None

    @property
    def kept(self) -> bool:
        """Whether a restart will know of it."""
        return self._path is not None

    def read(self) -> None:
        """As it was when the last process ended."""
        if self._path is not None and self._path.exists():
            self.current = validate(Decree, read_mapping(self._path), self._path.name)

    def put(self, decree: Decree) -> None:
        """On disk first."""
        if self._path is not None:
            write(self._path, decree)
        self.current = decree

    def forget_unless(self, policy: str) -> None:
        """The configuration has another policy on trial now, or none: the same one would have to be tried again."""
        if self.current is None or self.current.policy == policy:
            return
        self.current = None
        try:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be removed: {error.strerror}") from error
