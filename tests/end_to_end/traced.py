"""A server that traces everything, and the collector that it tells."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from collector import Collector
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .server import Server

CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
SERVICE = "interlock.v1.SafetyFilterService"


def traceparent(sampled: bool = True, ids: tuple[str, str] = CALLER) -> tuple[str, str]:
    """What a caller sends whose trace is kept, or not."""
    return "traceparent", f"00-{ids[0]}-{ids[1]}-{int(sampled):02x}"


def settings(collector: Collector, **changes: Any) -> dict[str, Any]:
    """To trace everything, soon."""
    return {
        "endpoint": collector.endpoint,
        "insecure": True,
        "sample_ratio": 1.0,
        "batch_delay_ms": 10,
        "queue_size_max": 100_000,
        **changes,
    }


class Traced:
    """The two of them."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.collector = Collector()
        tracing = settings(self.collector)
        self.server = Server(path, tracing=tracing, audit={"folder": str(path / "audit")}, **changes).wait_ready()

    def stop(self) -> None:
        """Ends them."""
        self.server.stop()
        self.collector.stop()

    def trace(self, trace_id: str = CALLER[0], count: int = 1) -> Sequence[Span]:
        """The spans of one trace, when so many of its RPCs are over."""

        def spans() -> list[Span]:
            return [span for span in self.collector.spans() if span.trace_id.hex() == trace_id]

        self.collector.wait_for(lambda: sum(span.name.startswith(SERVICE) for span in spans()) >= count)
        return spans()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Started once for a file of tests; each of which has a trace of its own."""
    running = Traced(tmp_path_factory.mktemp("traced"))
    yield running
    running.stop()
