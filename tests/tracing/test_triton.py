"""Towards Triton a trace goes on, in the metadata of the call."""

import time
from typing import Any

import grpc
import numpy as np
import pytest
from interlock_server.backends.backend import Window
from interlock_server.backends.triton import TritonBackend
from interlock_server.trace_context import CURRENT, TraceContext
from tritonclient.grpc import service_pb2_grpc as pb_grpc
from tritonserver.fake_server import FakeTriton
from tritonserver.members import FILES, member, settings

CALL = TraceContext("a" * 32, "b" * 16, True)


class NotingTriton(FakeTriton):
    """Remembers to which spans its calls belong."""

    def __init__(self) -> None:
        super().__init__()
        self.parents: list[str] = []

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """As ever."""
        self.parents += [value for key, value in context.invocation_metadata() if key == "traceparent"]
        return await super().ModelInfer(request, context)


async def unchecked(score: Any) -> None:
    """Whatever it is, it is the right model."""


@pytest.mark.parametrize(("context", "parents"), [(CALL, [CALL.traceparent]), (None, [])])
async def test_a_call_carries_its_span(context: TraceContext | None, parents: list[str]):
    """As the standard has it; without one there is none."""
    fake, server = NotingTriton(), grpc.aio.server()
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = TritonBackend(member(), FILES, settings(f"127.0.0.1:{port}"))
    await backend.connect(unchecked)
    CURRENT.set(context)  # of this test's task
    await backend.score([Window(np.array([1, 2]), "raw", (0, 1))], time.monotonic() + 30)
    await backend.close()
    await server.stop(None)

    assert parents == fake.parents
