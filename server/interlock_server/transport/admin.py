"""The port of administrators: apart from callers', off by default, and every call on it is logged with its caller."""

from collections.abc import Callable

import grpc

from interlock_server.access.access import Access
from interlock_server.errors import ConfigError
from interlock_server.transport.guard import AccessGuard
from interlock_server.transport.server import bind, options
from interlock_server.transport.settings import TransportSettings
from interlock_server.transport.tls import Tls

_RPCS_MAX = 64
_DRAIN_S = 5.0


class AdminServer:
    """Serves what `add_services` adds, to callers with the scope `admin`. Binds its port on construction: ConfigError.

    `tls` is that of the other port.
    """

    def __init__(
        self,
        settings: TransportSettings,
        add_services: Callable[[grpc.aio.Server], None],
        access: Access,
        tls: Tls | None = None,
    ) -> None:
        if settings.admin_address is None:
            raise ConfigError("transport.admin_address: must be given")
        self._server = grpc.aio.server(
            interceptors=[AccessGuard(access)], options=options(settings), maximum_concurrent_rpcs=_RPCS_MAX
        )
        add_services(self._server)
        self.port = bind(self._server, settings.admin_address, tls, "transport.admin_address")

    async def start(self) -> None:
        """Begins to accept connections."""
        await self._server.start()

    async def stop(self) -> None:
        """Lets calls under way come to their end."""
        await self._server.stop(_DRAIN_S)
