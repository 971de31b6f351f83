"""The fakes that we ship behave like the clients that they stand in for."""

import inspect
from dataclasses import replace

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import (
    AsyncSafetyFilter,
    CallError,
    Exchange,
    LocalReason,
    ObserveWarning,
    SafetyFilter,
    Verdict,
    Withheld,
)
from interlock_client.testing import RELEASE, FakeAsyncSafetyFilter, FakeSafetyFilter, withhold

METHODS = ["screen", "screen_batch", "select", "report", "ensemble", "close"]


@pytest.mark.parametrize("method", METHODS)
def test_signatures_agree(method: str) -> None:
    """All four classes take the same arguments."""
    classes = [SafetyFilter, AsyncSafetyFilter, FakeSafetyFilter, FakeAsyncSafetyFilter]
    signatures = {str(inspect.signature(getattr(kind, method))) for kind in classes}

    assert len(signatures) == 1


@pytest.mark.parametrize("method", ["guard", "generate_safely"])
def test_parameters_agree(method: str) -> None:
    """So they do where the one kind of client takes what is asynchronous and the other does not."""
    sync, asynchronous = (
        inspect.signature(getattr(kind, method)).parameters for kind in (SafetyFilter, AsyncSafetyFilter)
    )
    changed = {name for name, parameter in sync.items() if parameter != asynchronous[name]}

    assert list(sync) == list(asynchronous)
    assert changed <= {"stream", "generate"}


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


RULES = [("stab", withhold("HARMFUL")), ("", RELEASE)]
STORY = ["He came in. ", "He sat do", "wn. ", "She stab", "bed him. ", "The end."]


def test_fake_guards() -> None:
    """Sentence by sentence as far as the rules go, and the whole is judged at the end."""
    out, guard = [], FakeSafetyFilter(rules=RULES).guard(STORY)
    with pytest.raises(Withheld, match="HARMFUL") as caught:
        out.extend(guard)
    verdict = caught.value.verdict

    assert "He came in. He sat down. ".startswith("".join(out))
    assert (("HARMFUL",), False) == (verdict.reasons, verdict.local)


async def test_async_fake_guards() -> None:
    """The fake for asyncio does the same."""
    fake = FakeAsyncSafetyFilter(rules=RULES)
    fine = [text async for text in fake.guard(STORY[:3])]
    guard = fake.guard(STORY, prompt="Go on.", on_withheld="fallback", fallback="Sorry.")
    out = [text async for text in guard]

    assert ("He came in. He sat down. ", "Sorry.") == ("".join(fine), out[-1])
    assert [Exchange(prompt="Go on.", completion="".join(STORY))] == fake.questions[1].exchanges


def test_fake_guard_withholds_by_default() -> None:
    """Also when it is closed, and when a rule says that no server answers."""
    unreachable = Verdict(reasons=(LocalReason.UNREACHABLE,))
    closed = FakeSafetyFilter(rules=RULES)
    closed.close()
    fakes = [FakeSafetyFilter(), FakeSafetyFilter(rules=[("", unreachable)]), closed]
    guards = [fake.guard(STORY, on_withheld="fallback", fallback="Sorry.") for fake in fakes]

    assert [["Sorry."]] * 3 == [list(guard) for guard in guards]
    reasons = [LocalReason.NOT_SCREENED, LocalReason.UNREACHABLE, LocalReason.CLIENT_CLOSED]
    assert reasons == [guard.verdict.reasons[0] for guard in guards]


def test_fake_selects() -> None:
    """The first of those that rules release, or the one with the largest margin."""
    fake = FakeSafetyFilter(rules=[("stab", withhold()), ("sure", replace(RELEASE, margin=2.0)), ("", RELEASE)])
    selections = [fake.select(texts, rounds=2) for texts in (["stab", "tea", "toast"], ["tea", "sure"], ["stab"], [])]

    assert [(1, "tea", 6), (1, "sure", 4), (None, None, 2), (None, None, 0)] == [
        (selection.index, selection.text, selection.looks) for selection in selections
    ]


async def test_async_fake_generates_safely() -> None:
    """With the loop of the real one."""
    fake = FakeAsyncSafetyFilter(rules=RULES)
    drawn = iter([["stab"], ["tea"]])
    generated = await fake.generate_safely(lambda n: next(drawn), fallback="Sorry.")

    assert ("tea", 2, False) == (generated.text, generated.rounds_used, generated.is_fallback)


def test_fake_keeps_reports() -> None:
    """And refuses what the client refuses."""
    fake = FakeSafetyFilter()
    fake.report("v1", "harmful", categories=["illicit"])
    with pytest.raises(CallError, match="label"):
        fake.report("v1", "awful")

    assert [("v1", "harmful", ("illicit",))] == fake.reports
