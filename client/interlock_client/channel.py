"""Where the servers are, and the channels to them: one per process, and one per event loop for asyncio.

A channel that a fork inherited shares its socket with the parent, so no child ever uses or closes one.
"""

import ipaddress
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from .errors import CallError, LocalReason, SettingsError

_SERVERS_OF_A_NAME = 4
MESSAGE_BYTES_MAX = 16 * 1024 * 1024

# Servers that say NOT_SERVING are passed over; those that cannot say so are taken for healthy.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "interlock.v1.SafetyFilterService"},
}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),  # nobody's DNS record switches retries on
    ("grpc.enable_retries", 0),  # this package retries, within one deadline; two layers would multiply
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Finds a connection that died silently. Only while calls are waiting: servers end connections that ping for fun.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Under load gRPC pings by itself, and while such a ping is unanswered it sends no keepalive; it would wait for a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # While the channel waits to reconnect, every text is withheld; gRPC's own limit is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Otherwise a forked child would find the parent's connection in the process-wide pool.
    ("grpc.use_local_subchannel_pool", 1),
)


def options(authority: str) -> Sequence[tuple[str, Any]]:
    """The channel options of a client."""
    return (*OPTIONS, ("grpc.default_authority", authority)) if authority else OPTIONS


def address(targets: str | Sequence[str]) -> str:
    """The one address that gRPC wants. There are three cases: one target, several IPv4, several IPv6."""
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if not names or not all(isinstance(name, str) and ":" in name for name in names):
        raise SettingsError("targets must be HOST:PORT, one or several")
    if len(names) == 1:
        return names[0]
    versions = {_ip_version(name) for name in names}
    if versions not in ({4}, {6}):
        # gRPC resolves one name per channel; a name that stands for several addresses is what it is made for.
        raise SettingsError("several targets must be IP addresses of one version; or give one DNS name for all")
    return f"ipv{versions.pop()}:{','.join(names)}"


def servers(targets: str | Sequence[str]) -> int:
    """How many servers to reckon with; behind a name there may be several."""
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    return len(names) if len(names) > 1 or _ip_version(names[0]) else _SERVERS_OF_A_NAME


def _ip_version(name: str) -> int:
    host = name.rpartition(":")[0]
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).version
    except ValueError:
        return 0


Owner = TypeVar("Owner")
Link = TypeVar("Link")


class Links(Generic[Owner, Link]):
    """What a client holds open, by owner. Without locks: one that is held during a fork stays locked in the child."""

    def __init__(self) -> None:
        self.closed = False
        self._by_owner: dict[Owner, Link] = {}
        self._in_flight: set[tuple[int, object]] = set()
        self._born_in = os.getpid()

    @property
    def forked(self) -> bool:
        """The client was constructed in another process."""
        return os.getpid() != self._born_in

    @property
    def forked_in_flight(self) -> bool:
        """Calls of another process are in flight here: they were when it forked, and will be for ever."""
        return any(pid != os.getpid() for pid, _ in list(self._in_flight))

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Marks a call while it lasts."""
        mark = (os.getpid(), object())
        self._in_flight.add(mark)
        try:
            yield
        finally:
            self._in_flight.discard(mark)

    def current(self, owner: Owner, make: Callable[[], Link]) -> Link:
        """The owner's link; made on its first call, never shared with another owner."""
        if self.closed:
            raise CallError(LocalReason.CLIENT_CLOSED)
        link = self._by_owner.get(owner)
        # Two threads may both make one, which connects to nothing until it is used; both get the same one here.
        return link if link is not None else self._by_owner.setdefault(owner, make())

    def owners(self) -> list[Owner]:
        return list(self._by_owner)

    def drop(self, owner: Owner) -> Link | None:
        """Forgets the owner's link and hands it out."""
        return self._by_owner.pop(owner, None)
