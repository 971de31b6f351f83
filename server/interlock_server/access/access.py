"""Who a call is from: a known caller, anyone where none are configured, or nobody."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interlock_server.access.callers import ANYONE, Caller
from interlock_server.access.file import Callers, read_callers
from interlock_server.access.settings import AccessSettings
from interlock_server.access.tokens import owner_of
from interlock_server.access.watched import Watched
from interlock_server.metrics import Metrics


class Access:
    """The callers in force. Raises ConfigError when their file cannot be used; later such a file changes nothing."""

    def __init__(self, settings: AccessSettings, metrics: Metrics) -> None:
        self.anyone = replace(ANYONE, default_profile=settings.default_profile or "")
        """Whoever calls, where no callers are configured."""
        self.watched: Watched[Callers] | None = None
        if settings.file is not None:
            path = Path(settings.file)
            self.watched = Watched("access", [path], lambda: read_callers(path, self._callers), metrics)

    @property
    def on(self) -> bool:
        """Whether callers have to say who they are."""
        return self.watched is not None

    def identify(self, token: str | None, subjects: Sequence[str]) -> Caller | None:
        """The caller; a token that is given must be right, whatever the certificate says. None: nobody we know."""
        if self.watched is None:
            return self.anyone
        callers = self.watched.current
        if token is not None:
            return owner_of(token, callers.by_digest)
        for subject in subjects:
            if caller := callers.by_subject.get(subject):
                return caller
        return None

    @property
    def _callers(self) -> Callers | None:
        return self.watched.current if self.watched is not None else None
