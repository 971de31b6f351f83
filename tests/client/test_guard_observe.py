"""A guard in observe mode: everything passes, whatever the service says or does not say."""

from collections.abc import Iterator

import grpc
import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import LocalReason

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import hanging
from .sources import BAD, FINE, all_of

pytestmark = pytest.mark.filterwarnings("ignore:enforcement is 'observe'")


async def test_observe_lets_everything_through(serve: Serve, connect_one: Connect):
    """As it comes, piece by piece; the verdict says what would have been."""
    service = serve()
    guard = connect_one(service.target, enforcement="observe").guard(BAD)
    out, withheld = await all_of(guard)

    assert (BAD, None) == (out, withheld)
    assert (False, ("HARMFUL", "DISAGREEMENT")) == (bool(guard.verdict), guard.verdict.reasons)
    assert pb.ENFORCEMENT_OBSERVE == service.guards[0].start.enforcement


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (
            lambda call: fake_service.failing(grpc.StatusCode.UNAVAILABLE)(call) if call.ended else iter(()),
            "UNREACHABLE",
        ),
        (fake_service.releasing_what_never_came, LocalReason.MALFORMED_RESPONSE),
        (hanging, LocalReason.DEADLINE),
    ],
)
async def test_observe_is_not_disturbed(serve: Serve, connect_one: Connect, behaviour, reason: str):
    """By a service that fails; it waits for the verdict no longer than for any other call."""
    service = serve()
    service.guard = behaviour
    guard = connect_one(service.target, enforcement="observe", timeout_s=0.5).guard(FINE)

    assert (FINE, None) == await all_of(guard)
    assert (False, reason) == (bool(guard.verdict), guard.verdict.reasons[0])


async def test_observe_shows_what_comes_at_once(serve: Serve, connect_one: Connect):
    """It waits for nobody, and the source's errors are its own."""
    service = serve()
    service.guard = hanging

    def source() -> Iterator[str]:
        yield "One"
        raise RuntimeError("out of memory")

    guard = connect_one(service.target, enforcement="observe").guard(source())

    assert "One" == await anext(guard)
    with pytest.raises(RuntimeError, match="memory"):
        await anext(guard)
