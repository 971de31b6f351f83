"""The shipped client against the real server, through the drill: members fail and come back, and the client never raises."""

import asyncio

import pytest
from fakes import BENIGN, HARMFUL
from interlock_client import AsyncSafetyFilter, Exchange, SafetyFilter, Verdict

from .conftest import StartServer
from .server import PATIENT_S, Server


def screen(server: Server, completion: str | bytes, timeout_s: float = PATIENT_S) -> Verdict:
    with SafetyFilter(targets=server.target, timeout_s=timeout_s, retry=None) as safety_filter:
        return safety_filter.screen(completion=completion)


def test_released_and_withheld(server: Server):
    """A verdict is true for a benign text and false, with the server's reason, for a harmful one."""
    assert screen(server, BENIGN)
    withheld = screen(server, HARMFUL)

    assert (False, ("HARMFUL",), False) == (bool(withheld), withheld.reasons, withheld.local)


@pytest.mark.parametrize("mode", ["crash", "nan", "hang"])
def test_a_failing_member_withholds_until_it_comes_back(server: Server, mode: str):
    """The same benign text is released before and after, and withheld in between without an exception."""
    before = screen(server, BENIGN)
    server.script("beta", mode=mode)
    during = [screen(server, BENIGN, timeout_s=1.0) for _ in range(5)]
    server.heal()
    after = screen(server, BENIGN)

    assert (True, [False] * 5, True) == (bool(before), list(map(bool, during)), bool(after))


def test_a_server_that_is_killed_withholds(start_server: StartServer):
    """No exception and no release, whichever moment the server dies at."""
    server = start_server()
    with SafetyFilter(targets=server.target, timeout_s=5.0) as safety_filter:
        assert safety_filter.screen(completion=BENIGN)
        server.process.kill()
        server.process.wait()
        verdict = safety_filter.screen(completion=BENIGN)

    assert (False, True) == (bool(verdict), verdict.local)


def test_an_async_batch_keeps_its_order(server: Server):
    """Each verdict is on its own text."""

    async def run() -> list[Verdict]:
        async with AsyncSafetyFilter(targets=server.target, timeout_s=PATIENT_S) as safety_filter:
            return await safety_filter.screen_batch(
                [Exchange(completion=text) for text in (BENIGN, HARMFUL, "", BENIGN)]
            )

    assert [True, False, False, True] == list(map(bool, asyncio.run(run())))


def test_observed_verdicts_are_counted_by_the_server(start_server: StartServer):
    """Observe mode lets a text out at the caller, and shows up where ops look."""
    server = start_server()
    with (
        pytest.warns(match="observe"),
        SafetyFilter(targets=server.target, timeout_s=PATIENT_S, enforcement="observe") as safety_filter,
    ):
        verdict = safety_filter.screen(completion=HARMFUL)

    assert (False, True) == (bool(verdict), verdict.may_release)
    assert 1 == server.metric("interlock_enforcement_observed_total")
