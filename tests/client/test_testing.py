"""The fakes that we ship behave like the clients that they stand in for."""

import inspect

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter, Exchange, LocalReason, ObserveWarning, SafetyFilter
from interlock_client.testing import RELEASE, FakeAsyncSafetyFilter, FakeSafetyFilter, withhold

METHODS = ["screen", "screen_batch", "ensemble", "close"]


@pytest.mark.parametrize("method", METHODS)
def test_signatures_agree(method: str) -> None:
    """All four classes take the same arguments."""
    classes = [SafetyFilter, AsyncSafetyFilter, FakeSafetyFilter, FakeAsyncSafetyFilter]
    signatures = {str(inspect.signature(getattr(kind, method))) for kind in classes}

    assert len(signatures) == 1


def test_settings_agree() -> None:
    """Both clients have the same keyword-only settings, except that streams are asyncio's; the fakes take them all."""
    settings = inspect.signature(SafetyFilter).parameters
    of_asyncio = inspect.signature(AsyncSafetyFilter).parameters

    assert settings == {name: parameter for name, parameter in of_asyncio.items() if name != "multiplexed"}
    assert of_asyncio.keys() <= inspect.signature(FakeAsyncSafetyFilter).parameters.keys()
    assert {parameter.kind for parameter in settings.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert settings.keys() <= inspect.signature(FakeSafetyFilter).parameters.keys()


def test_fake_withholds_by_default() -> None:
    """Without rules nothing is released."""
    verdict = FakeSafetyFilter().screen(completion="hello")

    assert (bool(verdict), verdict.reasons) == (False, (LocalReason.NOT_SCREENED,))


def test_fake_follows_rules_in_order() -> None:
    """The first rule that matches decides; rules are substrings or functions."""
    rules = [("bad", withhold("HARMFUL")), (lambda exchange: exchange.prompt == "hi", RELEASE)]
    fake = FakeSafetyFilter(rules=rules)
    verdicts = [fake.screen(prompt="hi", completion=text) for text in ("fine", "bad", b"bad too")]

    assert [verdict.reasons for verdict in verdicts] == [(), ("HARMFUL",), ("HARMFUL",)]
    assert [bool(verdict) for verdict in verdicts] == [True, False, False]


async def test_async_fake_follows_rules() -> None:
    """The fake for asyncio is the same, awaited."""
    async with FakeAsyncSafetyFilter(rules=[("good", RELEASE)]) as fake:
        verdicts = await fake.screen_batch([Exchange(completion="good"), Exchange(completion="other")])
        described = await fake.ensemble()

    assert ([True, False], pb.GetEnsembleResponse()) == ([bool(verdict) for verdict in verdicts], described)


def test_fake_records_questions() -> None:
    """A test can look at what its code asked."""
    fake = FakeSafetyFilter()
    fake.screen(prompt="p", completion="c", profile="strict", request_id="r")
    (question,) = fake.questions

    assert (question.profile, question.request_id) == ("strict", "r")
    assert [Exchange(prompt="p", completion="c")] == question.exchanges


@pytest.mark.parametrize("completion", ["\ud800", None])
def test_fake_is_as_strict_about_texts(completion: str) -> None:
    """What the client would not send, the fake does not release."""
    verdict = FakeSafetyFilter(rules=[(lambda exchange: True, RELEASE)]).screen(completion=completion)

    assert verdict.reasons == (LocalReason.INVALID_CALL,)


def test_closed_fake() -> None:
    """A closed fake withholds."""
    with FakeSafetyFilter(rules=[("", RELEASE)]) as fake:
        assert fake.screen(completion="hello")

    assert fake.screen(completion="hello").reasons == (LocalReason.CLIENT_CLOSED,)


def test_fake_observes() -> None:
    """Observe mode can be tried with the fake, warning included."""
    with pytest.warns(ObserveWarning):
        fake = FakeSafetyFilter(enforcement="observe")
    verdict = fake.screen(completion="hello")

    assert (bool(verdict), verdict.may_release) == (False, True)
