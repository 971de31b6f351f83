"""The floor of gRPC on this machine: a grpc.aio server on uvloop that returns what it gets. servers.py starts it."""

import asyncio
import json
import sys
from typing import Any

import grpc
import uvloop


async def serve() -> None:
    """Serves until the process is ended; says its port on stderr, as Interlock does."""
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "ready", "port": port}), file=sys.stderr, flush=True)
    await asyncio.Event().wait()


async def _echo(request: bytes, context: Any) -> bytes:
    return request


if __name__ == "__main__":
    uvloop.run(serve())
