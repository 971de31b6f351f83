"""Settings are checked on construction, show no secrets, and observe mode is loud."""

import logging

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import InterlockError, LocalReason, ObserveWarning, RetrySettings, SafetyFilter, SettingsError

from . import fake_service
from .conftest import Connect, Serve


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("timeout_s", 0),
        ("timeout_s", float("inf")),
        ("timeout_s", "2"),
        ("extra_margin", -0.1),
        ("extra_margin", float("nan")),
        ("detail", "everything"),
        ("enforcement", "off"),
        ("on_unavailable", "RELEASE"),
        ("priority", "urgent"),
    ],
)
def test_impossible_settings(setting: str, value: object) -> None:
    """A setting that cannot work is refused by name."""
    with pytest.raises(SettingsError, match=setting):
        SafetyFilter(targets="a:1", **{setting: value})


@pytest.mark.parametrize("setting", ["backoff_s", "tokens_max", "tokens_back"])
def test_impossible_retry_settings(setting: str) -> None:
    """So are settings of the retry."""
    with pytest.raises(SettingsError, match="retry"):
        RetrySettings(**{setting: -1.0})


def test_settings_error_is_both() -> None:
    """Callers may catch it as ours or as a ValueError."""
    assert issubclass(SettingsError, InterlockError)
    assert issubclass(SettingsError, ValueError)


def test_unknown_setting() -> None:
    """A misspelt setting is an error, not ignored."""
    with pytest.raises(TypeError, match="timeout_ms"):
        SafetyFilter(targets="a:1", timeout_ms=3)


def test_repr_shows_no_secret() -> None:
    """Tokens in the metadata stay out of logs that print the client."""
    assert "s3cret" not in repr(SafetyFilter(targets="a:1", metadata=[("authorization", "Bearer s3cret")]))


def test_enforce_is_quiet_default(recwarn: pytest.WarningsRecorder) -> None:
    """Nobody observes by accident."""
    assert (SafetyFilter(targets="a:1").enforcement, len(recwarn)) == ("enforce", 0)


def test_observe_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    """Observe mode warns developers and logs for operators, once."""
    with pytest.warns(ObserveWarning, match="may_release is True for everything") as warned:
        SafetyFilter(targets="a:1", enforcement="observe")

    assert (len(warned), [record.levelno for record in caplog.records]) == (1, [logging.WARNING])
    assert __file__ == warned[0].filename


@pytest.mark.filterwarnings("ignore::interlock_client.ObserveWarning")
async def test_observe_keeps_the_verdict_strict(serve: Serve, connect: Connect) -> None:
    """In observe mode a withheld verdict stays false, the caller may release anyway, and the server knows."""
    service = serve(fake_service.withhold)
    verdict = await connect(service.target, enforcement="observe").screen(completion="hello")

    assert (bool(verdict), verdict.released, verdict.may_release) == (False, False, True)
    assert service.calls[0].request.enforcement == pb.ENFORCEMENT_OBSERVE


@pytest.mark.filterwarnings("ignore::interlock_client.ObserveWarning")
async def test_observe_without_server(connect: Connect) -> None:
    """In observe mode an outage does not hold texts back either."""
    verdict = await connect("127.0.0.1:1", enforcement="observe").screen(completion="hello")

    assert (bool(verdict), verdict.may_release, verdict.reasons) == (False, True, (LocalReason.UNREACHABLE,))


@pytest.mark.filterwarnings("ignore::interlock_client.ObserveWarning")
async def test_observe_with_mistaken_arguments(connect: Connect) -> None:
    """In observe mode every verdict of a call says so, whatever went wrong."""
    client = connect("127.0.0.1:1", enforcement="observe")
    await client.close()
    verdicts = [await client.screen(completion=None), *await client.screen_batch(None)]

    assert [verdict.may_release for verdict in verdicts] == [True, True]


async def test_enforce_releases_what_is_released(serve: Serve, connect: Connect) -> None:
    """In enforce mode may_release is the verdict."""
    client = connect(serve(fake_service.judge(fake_service.unless_bad)).target)
    verdicts = [await client.screen(completion=text) for text in ("good", "bad")]

    assert [(bool(verdict), verdict.may_release) for verdict in verdicts] == [(True, True), (False, False)]
