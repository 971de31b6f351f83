"""`ensemble` describes what is in force; it is the one method that raises."""

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import CallError, LocalReason

from . import fake_service
from .conftest import Connect, Serve


async def test_ensemble(serve: Serve, connect: Connect) -> None:
    """The description comes back as it is."""
    described = pb.GetEnsembleResponse(profiles=["default", "strict"], default_profile="default")
    service = serve(lambda call: described.SerializeToString())

    assert described == await connect(service.target).ensemble()


async def test_ensemble_failure(serve: Serve, connect: Connect) -> None:
    """A failure is a CallError with the reason and the status, without the server's words."""
    client = connect(serve(fake_service.fail(grpc.StatusCode.PERMISSION_DENIED)).target)

    with pytest.raises(CallError, match=r"^REFUSED: PERMISSION_DENIED$") as caught:
        await client.ensemble()
    assert caught.value.reason == LocalReason.REFUSED


async def test_ensemble_garbage(serve: Serve, connect: Connect) -> None:
    """So is an answer that is no message."""
    with pytest.raises(CallError, match="MALFORMED_RESPONSE"):
        await connect(serve(fake_service.garbage).target).ensemble()


async def test_ensemble_of_closed_client(connect: Connect) -> None:
    """So is a closed client."""
    client = connect("127.0.0.1:1")
    await client.close()

    with pytest.raises(CallError, match="CLIENT_CLOSED"):
        await client.ensemble()


async def test_ensemble_has_a_deadline(serve: Serve, connect: Connect) -> None:
    """So is a server that hangs."""
    with pytest.raises(CallError, match="DEADLINE"):
        await connect(serve(fake_service.hang).target).ensemble(timeout_s=0.3)
