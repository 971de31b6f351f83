"""A collector for OpenTelemetry: a real OTLP receiver over gRPC, which keeps what it is sent."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENT_S = 60.0


class Collector(pb_grpc.TraceServiceServicer):
    """Listens from the beginning; `stop` it. While `refusing`, it takes nothing."""

    def __init__(self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> None:
        self.requests: list[pb.ExportTraceServiceRequest] = []
        self.refusing = False
        self._arrived = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_TraceServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"localhost:{self.port}"

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        """What exporters call."""
        if self.refusing:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not now")
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        return pb.ExportTraceServiceResponse()

    def spans(self, name: str = "") -> list[Span]:
        """All that came, in order; those of one name."""
        scopes = [scope for asked in list(self.requests) for r in asked.resource_spans for scope in r.scope_spans]
        return [span for scope in scopes for span in scope.spans if name in ("", span.name)]

    def wait_for(self, holds: Callable[[], Any]) -> None:
        """Until something that came makes it true."""
        ends_s = time.monotonic() + PATIENT_S
        with self._arrived:
            while not holds():
                left_s = ends_s - time.monotonic()
                assert left_s > 0, f"it never came; there are {[span.name for span in self.spans()]}"
                self._arrived.wait(left_s)

    def stop(self) -> None:
        """Hangs up."""
        self._server.stop(None).wait()


def attributes(span: Span) -> dict[str, Any]:
    """Those of a span, as values."""
    return {item.key: getattr(item.value, str(item.value.WhichOneof("value"))) for item in span.attributes}
