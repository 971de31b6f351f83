"""`/metrics` and `/healthz` over HTTP, in threads of their own, so that a busy event loop does not blind ops.

Beyond loopback over TLS, where there is any. Callers who are slow or many cost a few threads for a few seconds.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.transport.settings import is_loopback
from interlock_server.transport.tls import Tls

_CONNECTIONS_MAX = 64
_PATIENCE_S = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    tls: Tls | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._places = threading.BoundedSemaphore(_CONNECTIONS_MAX)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection. Its handshake comes later, in its own thread: the caller may never begin it."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.http.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection; a thread that serves it gives its place back."""
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """No line for everyone who hangs up or speaks no TLS."""


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:
        """No line per scrape."""


class HttpServer:
    """Serves until closed; raises ConfigError when the address is taken."""

    def __init__(self, address: str, metrics: Metrics, serving: Callable[[], bool], tls: Tls | None = None) -> None:
        host, _, port = address.rpartition(":")
        metrics_app = make_wsgi_app(metrics.registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                page: Iterable[bytes] = metrics_app(environ, start_response)
                return page
            if path != "/healthz":
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"not found\n"]
            status, body = ("200 OK", b"serving\n") if serving() else ("503 Service Unavailable", b"not serving\n")
            start_response(status, [("Content-Type", "text/plain")])
            return [body]

        try:
            self._server = make_server(host.strip("[]"), int(port), app, _Server, _Handler)
        except OSError as error:
            raise ConfigError(f"transport.http_address: cannot listen on {address}: {error.strerror}") from error
        self._server.tls = None if is_loopback(address) else tls
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
