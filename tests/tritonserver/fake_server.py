"""A server that speaks Triton's protocol over real gRPC and answers whatever a test wants, as no real one would on demand."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as pb_grpc

Answer = Callable[[Any], Any]


class Refusal(Exception):
    """An answer that is a status."""

    def __init__(self, code: grpc.StatusCode, message: str = "") -> None:
        super().__init__(message)
        self.code, self.message = code, message


def good(request: Any) -> Any:
    """Zeros, as many as are wanted."""
    rows = request.inputs[0].shape[0]
    answer = pb.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
    answer.outputs.add(name="logits", datatype="FP32", shape=[rows, 4])
    answer.raw_output_contents.append(np.zeros((rows, 4), dtype="<f4").tobytes())
    return answer


class FakeTriton(pb_grpc.GRPCInferenceServiceServicer):
    """Announces a good model and gives good answers until `answer` or `metadata` is changed. `asked` are the calls."""

    def __init__(self) -> None:
        self.answer: Answer = good
        self.asked: list[Any] = []
        self.metadata = pb.ModelMetadataResponse(name="tiny", versions=["1"], platform="python")
        for name in ("input_ids", "attention_mask"):
            self.metadata.inputs.add(name=name, datatype="INT64", shape=[-1, -1])
        self.metadata.outputs.add(name="logits", datatype="FP32", shape=[-1, 4])
        self.config = pb.ModelConfigResponse()

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """Always."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        """Always."""
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Always."""
        return pb.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """As was set."""
        return self.metadata

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        """As was set."""
        return self.config

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Whatever `answer` says."""
        self.asked.append(request)
        try:
            return self.answer(request)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)


@asynccontextmanager
async def faked(
    credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[tuple[FakeTriton, str]]:
    """The fake and its endpoint; with credentials it speaks TLS."""
    fake, server = FakeTriton(), grpc.aio.server()
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    address = f"127.0.0.1:{port}"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
