"""The text under judgement stays out of logs, errors and output, even if a server quotes it."""

import logging
import traceback

import grpc
import pytest
from interlock_client import CallError, Exchange, Withheld

from . import fake_service
from .conftest import Connect, Serve

SECRET = "Xanadu"

BEHAVIOURS = {
    "quoted": fake_service.fail(grpc.StatusCode.INTERNAL),
    "garbage": fake_service.garbage,
    "mismatch": fake_service.judge(fake_service.of_another_text),
    "withheld": fake_service.withhold,
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
async def test_text_stays_inside(
    serve: Serve,
    connect: Connect,
    behaviour: fake_service.Behaviour,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing that the client logs, prints or returns holds the text."""
    caplog.set_level(logging.DEBUG)
    client = connect(serve(behaviour).target)
    verdict = await client.screen(prompt=SECRET, completion=SECRET + "\ud800")
    verdicts = await client.screen_batch([Exchange(prompt=SECRET, completion=SECRET)])
    selection = await client.select([SECRET], prompt=SECRET)
    output = capfd.readouterr()

    assert SECRET not in f"{caplog.text} {output.out} {output.err} {verdict} {verdicts} {verdicts[0].proto} {selection}"


@pytest.mark.parametrize("status", [None, grpc.StatusCode.INTERNAL])
async def test_a_guarded_text_stays_inside(
    serve: Serve,
    connect_one: Connect,
    status: grpc.StatusCode | None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing that a guard logs, prints or raises holds the text."""
    caplog.set_level(logging.DEBUG)
    service = serve()
    service.guard = fake_service.failing(status) if status else fake_service.releasing_what_never_came
    guard = connect_one(service.target).guard([SECRET, SECRET], prompt=SECRET)
    with pytest.raises(Withheld) as caught:
        await anext(guard)
    output = capfd.readouterr()

    seen = "".join(traceback.format_exception(caught.value)).replace(__file__, "")
    assert SECRET not in f"{caplog.text} {output.out} {output.err} {seen} {guard.verdict} {guard.guard!r}"


def test_exchange_shows_no_text() -> None:
    """An exchange can be printed by mistake."""
    assert SECRET not in repr(Exchange(prompt=SECRET, completion=SECRET, turns=[("user", SECRET)]))


async def test_error_quotes_nobody(serve: Serve, connect: Connect) -> None:
    """The one exception there is keeps the server's words out, in its context as well."""
    client = connect(serve(fake_service.fail(grpc.StatusCode.INTERNAL)).target)
    with pytest.raises(CallError) as caught:
        await client.ensemble()

    assert (str(caught.value), caught.value.__suppress_context__) == ("SERVER_ERROR: INTERNAL", True)
