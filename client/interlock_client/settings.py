"""The settings of a client, checked on construction. Both clients are this dataclass plus their I/O."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Literal, get_args

import grpc

from .channel import address
from .errors import SettingsError
from .retry import RetrySettings
from .security import Tls, is_local, token_of
from .verdict import Enforcement

Detail = Literal["decision", "reasons", "full"]
Priority = Literal["interactive", "bulk"]
LocalAction = Literal["USE_FALLBACK_TEXT", "REGENERATE", "ESCALATE"]
Metadata = Sequence[tuple[str, str | bytes]]

logger = getLogger("interlock_client")


class ObserveWarning(UserWarning):
    """A client is in observe mode: its caller releases texts that the server withholds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientSettings:
    """What a client is told once.

    targets         one HOST:PORT (a DNS name stands for all of its addresses) or several IP:PORT; calls go round robin
    timeout_s       for one call, over all of its attempts
    profile, extra_margin, priority, detail   as in the contract; all but the last can be overridden per call
    enforcement     "observe" makes `Verdict.may_release` True for everything; the verdict itself stays strict
    on_unavailable  the action in verdicts of the client's own; the text is withheld whichever it is
    retry           when to try once more; None: never
    tls             certificates, from files; None: a plaintext connection
    token_file      a file with the token that says who calls, read for every call; needs tls, except on this machine
    credentials     instead of tls, where gRPC's own are wanted
    authority       the name in the servers' certificates, where targets are addresses
    metadata        pairs sent with every call, or a function that gives them (a fresh token, a traceparent)
    """

    targets: str | Sequence[str]
    timeout_s: float = 2.0
    profile: str = ""
    extra_margin: float = 0.0
    priority: Priority = "interactive"
    detail: Detail = "reasons"
    enforcement: Enforcement = "enforce"
    on_unavailable: LocalAction = "USE_FALLBACK_TEXT"
    retry: RetrySettings | None = field(default_factory=RetrySettings)
    tls: Tls | None = None
    token_file: str | Path | None = None
    credentials: grpc.ChannelCredentials | None = field(default=None, repr=False)
    authority: str = ""
    metadata: Metadata | Callable[[], Metadata] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        address(self.targets)
        private = self.tls is not None or self.credentials is not None or is_local(self.targets)
        checks = {
            "tls and credentials: one of them": self.tls is None or self.credentials is None,
            "token_file: others could read the token on its way; give tls too": self.token_file is None or private,
            "timeout_s must be a positive number of seconds": _is_finite(self.timeout_s) and self.timeout_s > 0,
            "extra_margin must be finite and not negative": _is_finite(self.extra_margin) and self.extra_margin >= 0,
            f"priority must be one of {get_args(Priority)}": self.priority in get_args(Priority),
            f"detail must be one of {get_args(Detail)}": self.detail in get_args(Detail),
            f"enforcement must be one of {get_args(Enforcement)}": self.enforcement in get_args(Enforcement),
            f"on_unavailable must be one of {get_args(LocalAction)}": self.on_unavailable in get_args(LocalAction),
        }
        for message, holds in checks.items():
            if not holds:
                raise SettingsError(message)
        self.caller_metadata()  # raises: what cannot be read now is a mistake; later it withholds
        if self.enforcement == "observe":
            # The log reaches operators, the warning reaches developers; and the server alarms on it.
            message = "enforcement is 'observe': may_release is True for everything, judged harmful or not judged"
            logger.warning(message)
            warnings.warn(message, ObserveWarning, stacklevel=3)

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """For a new channel; None: plaintext. Raises SettingsError."""
        return self.tls.credentials() if self.tls is not None else self.credentials

    def caller_metadata(self) -> tuple[tuple[str, str], ...]:
        """What says who calls; raises SettingsError."""
        return () if self.token_file is None else (("authorization", f"Bearer {token_of(self.token_file)}"),)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
