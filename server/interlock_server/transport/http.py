"""`/metrics` and `/healthz` on a plain HTTP port, in a thread of their own, so that a busy event loop does not blind ops."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line per scrape."""


class HttpServer:
    """Serves until closed; raises ConfigError when the address is taken."""

    def __init__(self, address: str, metrics: Metrics, serving: Callable[[], bool]) -> None:
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
            self._server = make_server(host.strip("[]"), int(port), app, _Server, _Quiet)
        except OSError as error:
            raise ConfigError(f"transport.http_address: cannot listen on {address}: {error.strerror}") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
