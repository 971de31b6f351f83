"""What comes out of `screen_batch`: one verdict each, in order, none of them hostage to another."""

import grpc
import pytest
from interlock_client import Exchange, LocalReason

from . import fake_service
from .conftest import Connect, Serve
from .fake_service import Behaviour


def exchanges(*completions: str) -> list[Exchange]:
    return [Exchange(completion=completion) for completion in completions]


async def test_verdicts_come_in_order(serve: Serve, connect: Connect) -> None:
    """Each exchange gets its own verdict at its own place."""
    client = connect(serve(fake_service.judge(fake_service.unless_bad)).target)
    verdicts = await client.screen_batch(exchanges("one", "bad", "two"))

    assert [bool(verdict) for verdict in verdicts] == [True, False, True]


async def test_mistaken_exchange_stays_alone(serve: Serve, connect: Connect) -> None:
    """An exchange that cannot be encoded is withheld, the others are judged."""
    service = serve(fake_service.release)
    verdicts = await connect(service.target).screen_batch([*exchanges("one", "\ud800"), "no exchange", *exchanges("2")])

    assert [bool(verdict) for verdict in verdicts] == [True, False, False, True]
    assert [exchange.completion for exchange in service.calls[0].exchanges] == [b"one", b"2"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fake_service.empty, LocalReason.MALFORMED_RESPONSE),
        (fake_service.garbage, LocalReason.MALFORMED_RESPONSE),
        (fake_service.one_too_few, LocalReason.MALFORMED_RESPONSE),
        (fake_service.one_too_many, LocalReason.MALFORMED_RESPONSE),
        (fake_service.swapped, LocalReason.DIGEST_MISMATCH),
        (fake_service.fail(grpc.StatusCode.INTERNAL), LocalReason.SERVER_ERROR),
    ],
)
async def test_failures_withhold_all(serve: Serve, connect: Connect, behaviour: Behaviour, reason: LocalReason) -> None:
    """A reply that cannot be matched to the exchanges releases none of them."""
    verdicts = await connect(serve(behaviour).target).screen_batch(exchanges("one", "two"))

    assert [(False, (reason,))] * 2 == [(bool(verdict), verdict.reasons) for verdict in verdicts]


async def test_swapped_withholds_are_not_believed(serve: Serve, connect: Connect) -> None:
    """A withheld verdict on another text is withheld as a mismatch, without the other text's reasons."""
    client = connect(serve(fake_service.judge(fake_service.harmful_elsewhere)).target)

    assert [verdict.reasons for verdict in await client.screen_batch(exchanges("a"))] == [
        (LocalReason.DIGEST_MISMATCH,)
    ]


async def test_empty_batch_asks_nobody(serve: Serve, connect: Connect) -> None:
    """No exchanges, no verdicts, no call."""
    service = serve(fake_service.release)

    assert (await connect(service.target).screen_batch([]), service.calls) == ([], [])


@pytest.mark.parametrize("nonsense", [None, 3])
async def test_no_list_is_not_an_empty_list(connect: Connect, nonsense: object) -> None:
    """What is no batch gives a withheld verdict, not an empty list, of which `all` would be true."""
    verdicts = await connect("127.0.0.1:1").screen_batch(nonsense)

    assert [verdict.reasons for verdict in verdicts] == [(LocalReason.INVALID_CALL,)]


async def test_retry_asks_only_for_what_failed(serve: Serve, connect: Connect) -> None:
    """Only the retryable exchanges are sent again, and their verdicts land at their places."""
    service = serve(fake_service.judge(fake_service.overloaded_if_long), fake_service.release)
    verdicts = await connect(service.target).screen_batch(exchanges("a", "a long one", "b"))

    assert [bool(verdict) for verdict in verdicts] == [True, True, True]
    assert service.completions == [[b"a", b"a long one", b"b"], [b"a long one"]]
