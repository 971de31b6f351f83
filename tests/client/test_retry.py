"""When the clients ask twice, and that they stop when the servers are down."""

import time

import grpc
from interlock_client import LocalReason, RetrySettings
from interlock_client.retry import TokenBucket, better, retry_wait_s
from interlock_client.verdict import Verdict

from . import fake_service
from .conftest import Connect, Serve

UNAVAILABLE = fake_service.fail(grpc.StatusCode.UNAVAILABLE)
OUTAGE = Verdict(reasons=("UNREACHABLE",), retryable=True)
OVERLOADED = Verdict(reasons=("OVERLOADED",), retryable=True, retry_after_s=0.5, local=False)


async def test_unavailable_is_asked_again(serve: Serve, connect: Connect) -> None:
    """A server that is going away costs one retry, not a withheld text."""
    service = serve(UNAVAILABLE, fake_service.release)

    assert await connect(service.target).screen(completion="hello")
    assert len(service.calls) == 2


async def test_retryable_verdict_is_asked_again(serve: Serve, connect: Connect) -> None:
    """A verdict that blames an outage is asked for again, after the wait that it names."""
    service = serve(fake_service.overload_for(0.3), fake_service.release)
    started = time.monotonic()

    assert await connect(service.target).screen(completion="hello")
    assert time.monotonic() - started >= 0.3


async def test_one_retry_at_most(serve: Serve, connect: Connect) -> None:
    """The second failure stands."""
    service = serve(UNAVAILABLE)
    verdict = await connect(service.target).screen(completion="hello")

    assert (verdict.reasons, len(service.calls)) == ((LocalReason.UNREACHABLE,), 2)


async def test_final_verdict_is_not_asked_again(serve: Serve, connect: Connect) -> None:
    """Nobody asks for another opinion on a harmful text."""
    service = serve(fake_service.withhold, fake_service.release)

    assert not await connect(service.target).screen(completion="hello")
    assert len(service.calls) == 1


async def test_refusal_is_not_asked_again(serve: Serve, connect: Connect) -> None:
    """A request that was refused once will be refused twice."""
    service = serve(fake_service.fail(grpc.StatusCode.INVALID_ARGUMENT), fake_service.release)

    assert not await connect(service.target).screen(completion="hello")
    assert len(service.calls) == 1


async def test_retry_can_be_switched_off(serve: Serve, connect: Connect) -> None:
    """`retry=None` asks once; gRPC's own retries are off as well."""
    service = serve(UNAVAILABLE, fake_service.release)

    assert not await connect(service.target, retry=None).screen(completion="hello")
    assert len(service.calls) == 1


async def test_retry_after_beyond_deadline(serve: Serve, connect: Connect) -> None:
    """A wait that does not fit is not begun: the first verdict comes back at once."""
    started = time.monotonic()
    client = connect(serve(fake_service.overload_for(60)).target)
    verdict = await client.screen(completion="hello", timeout_s=8)

    assert verdict.reasons == ("OVERLOADED",)
    assert time.monotonic() - started < 5


async def test_one_deadline_across_attempts(serve: Serve, connect: Connect) -> None:
    """The second attempt gets what the first one and the wait have left."""
    service = serve(fake_service.overload_for(0.4), fake_service.release)
    await connect(service.target).screen(completion="hello", timeout_s=5)
    first, second = (call.time_left_s for call in service.calls)

    assert second <= 5 - 0.3 < first


async def test_server_verdict_outlives_failed_retry(serve: Serve, connect: Connect) -> None:
    """What the server said at first is kept when the retry finds nobody."""
    service = serve(fake_service.overload, UNAVAILABLE)
    verdict = await connect(service.target).screen(completion="hello")

    assert (verdict.reasons, verdict.local, len(service.calls)) == (("OVERLOADED",), False, 2)


async def test_throttle_stops_retries(serve: Serve, connect: Connect) -> None:
    """In an outage three calls spend the tokens: two are retried, from then on each text is asked for once."""
    service = serve(UNAVAILABLE)
    client = connect(service.target, retry=RetrySettings(backoff_s=0.0, tokens_max=10.0))
    for _ in range(6):
        await client.screen(completion="hello")

    assert len(service.calls) == 2 + 2 + 1 + 1 + 1 + 1


def test_tokens_come_back() -> None:
    """Answered calls refill the bucket, a little each."""
    bucket = TokenBucket(RetrySettings(tokens_max=4, tokens_back=0.5))
    for _ in range(3):
        bucket.record([OUTAGE])
    assert not bucket.allows_retry
    for _ in range(3):
        bucket.record([Verdict(local=False)])

    assert bucket.allows_retry


def test_refusals_leave_the_tokens_alone() -> None:
    """A refused call neither spends nor returns tokens."""
    bucket = TokenBucket(RetrySettings(tokens_max=4, tokens_back=4))
    for _ in range(3):
        bucket.record([OUTAGE])
    bucket.record([Verdict(reasons=("REFUSED",))])

    assert not bucket.allows_retry


def test_longest_wait_counts() -> None:
    """A batch waits for the last of its verdicts."""
    settings = RetrySettings(backoff_s=0.0)

    assert retry_wait_s([OUTAGE, OVERLOADED], 2.0, settings) == 0.5


def test_backoff_is_spread() -> None:
    """Clients that failed together do not come back together."""
    waits = {retry_wait_s([OUTAGE], 2.0, RetrySettings(backoff_s=0.1)) for _ in range(20)}

    assert len(waits) > 1
    assert all(wait is not None and 0.05 <= wait <= 0.15 for wait in waits)


def test_later_server_verdict_is_better() -> None:
    """Between two verdicts of the server the later one counts."""
    assert OVERLOADED is better(OUTAGE, OVERLOADED)
    assert OUTAGE is better(OUTAGE, OUTAGE)
    assert OVERLOADED is better(OVERLOADED, OUTAGE)
