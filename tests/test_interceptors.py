"""What surrounds every RPC, with a real server and a handler that breaks."""

import grpc
import pytest
from interlock_server.metrics import Metrics
from interlock_server.transport.interceptors import RpcMetrics

MARKER = "the text under judgement"


async def break_down(request: bytes, context: object) -> bytes:
    raise ValueError(MARKER)


async def test_an_exception_tells_the_caller_nothing():
    """Neither what it says nor of which type it is; gRPC would tell both."""
    metrics = Metrics()
    server = grpc.aio.server(interceptors=[RpcMetrics(metrics)])
    handler = grpc.unary_unary_rpc_method_handler(break_down)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/s/m")(b"", timeout=10)
    await server.stop(0)

    assert (grpc.StatusCode.INTERNAL, "internal error") == (caught.value.code(), caught.value.details())
    labels = {"grpc_code": "Internal", "grpc_method": "m", "grpc_service": "s", "grpc_type": "unary"}
    assert 1 == metrics.registry.get_sample_value("grpc_server_handled_total", labels)
