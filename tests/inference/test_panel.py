"""The panel: an answer from everybody by the deadline, or the reason why there is none."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from fakes import BENIGN, Hang, fake_member, scores
from interlock_server.backends.backend import Reading, Run
from interlock_server.decision.evidence import MissingCause
from interlock_server.decision.verdict import Reason
from interlock_server.inference.panel import Panel, Question
from interlock_server.inference.scoring import Member, MemberReport
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.text.exchange import Exchange

EXCHANGE = Exchange("", BENIGN)
PATIENT_S = 30.0  # never waited for in full
SETTINGS = {"lanes": 2, "hang_grace_ms": 10, "breaker_open_ms": 600_000}


@asynccontextmanager
async def running(members: Sequence[Member], shadow: Sequence[str] = (), **settings: Any) -> AsyncIterator[Panel]:
    panel = Panel(members, shadow, InferenceSettings(**{**SETTINGS, **settings}), Metrics())
    panel.start()
    try:
        yield panel
    finally:
        for member in members:
            if isinstance(member.backend.answer, Hang):  # type: ignore[attr-defined]
                member.backend.answer.release()  # type: ignore[attr-defined]
        await panel.close()


async def ask(panel: Panel, within_s: float = PATIENT_S) -> dict[str, MissingCause | None] | Reason:
    """What each member lacks, or why none was asked."""
    answer = await panel.ask(question(within_s))
    return answer.refused or missing(answer.reports)


def question(within_s: float = PATIENT_S, bulk: bool = False) -> Question:
    return Question(lambda: EXCHANGE, len(BENIGN), time.monotonic() + within_s, bulk)


def missing(reports: Sequence[MemberReport]) -> dict[str, MissingCause | None]:
    return {report.evidence.member: report.evidence.missing for report in reports}


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not holds():  # noqa: ASYNC110 -- threads make it hold
            await asyncio.sleep(0.005)


async def occupy(panel: Panel, hang: Hang) -> asyncio.Task[Any]:
    """Begins a question whose member hangs, and waits until it does."""
    task = asyncio.create_task(ask(panel))
    assert await asyncio.to_thread(hang.begun.wait, PATIENT_S)
    return task


def counted(panel: Panel, name: str, **labels: str) -> float:
    return panel._metrics.registry.get_sample_value(name, labels) or 0.0


def crashes(run: Run) -> Any:
    raise RuntimeError(BENIGN)


async def test_everybody_answers():
    """The normal case."""
    async with running([fake_member("alpha"), fake_member("beta")]) as panel:
        assert {"alpha": None, "beta": None} == await ask(panel)


async def test_a_hung_member_is_not_waited_for():
    """By the deadline the others' evidence is there, and the hung one is missing."""
    async with running([fake_member("alpha", Hang()), fake_member("beta")]) as panel:
        begun_s = time.monotonic()
        found = await ask(panel, within_s=1.0)

        assert {"alpha": MissingCause.TIMED_OUT, "beta": None} == found
        assert time.monotonic() - begun_s < 10


async def test_one_lane_is_enough_for_many_hangs():
    """Lanes that hang are replaced, so that the next question finds one."""
    hung, good = fake_member("alpha", Hang()), fake_member("beta")
    async with running([hung, good], lanes=1, breaker_failures=1) as panel:
        await ask(panel, within_s=0.2)
        await eventually(lambda: counted(panel, "interlock_breaker_state", member="alpha") == 2)

        assert {"alpha": MissingCause.BREAKER_OPEN, "beta": None} == await ask(panel)


async def test_too_many_hangs_cannot_be_healed():
    """The process should then exit and be restarted."""
    async with running([fake_member("alpha", Hang())], lanes_lost_max=0) as panel:
        await ask(panel, within_s=0.05)

        assert await asyncio.wait_for(panel.cannot_heal.wait(), PATIENT_S)


async def test_a_failing_member_is_told_from_a_late_one():
    """The cause is part of the evidence."""
    async with running([fake_member("alpha", crashes), fake_member("beta")]) as panel:
        assert {"alpha": MissingCause.FAILED, "beta": None} == await ask(panel)


async def test_a_caller_who_leaves_takes_the_jobs_along():
    """What had not begun is never run."""
    hang = Hang()
    alpha, beta = fake_member("alpha", hang), fake_member("beta")
    async with running([alpha, beta], lanes=1) as panel:
        leaving = await occupy(panel, hang)
        leaving.cancel()
        await asyncio.wait([leaving])
        hang.release()
        await eventually(lambda: len(panel._lanes["cpu"]) == 0)
        await ask(panel)

        assert 1 == beta.backend.asked  # type: ignore[attr-defined]


async def test_a_caller_who_leaves_stops_the_run_under_way():
    """A model that can be stopped is."""
    stopped: list[bool] = []

    def waits(run: Run) -> Any:
        run.on_stop(lambda: stopped.append(True))
        time.sleep(0.01)
        return scores()

    alpha = fake_member("alpha", waits, windows=10_000)
    async with running([alpha]) as panel:
        leaving = asyncio.create_task(ask(panel))
        await eventually(lambda: alpha.backend.asked > 0)  # type: ignore[attr-defined]
        leaving.cancel()
        await asyncio.wait([leaving])

        assert stopped


async def test_a_caller_who_leaves_frees_the_queue():
    """Though no lane has come round to drop the jobs yet."""
    hang = Hang()
    async with running([fake_member("alpha", hang)], lanes=1, queue_size_max=1) as panel:
        await occupy(panel, hang)
        waiting = asyncio.create_task(ask(panel))
        await eventually(lambda: len(panel._lanes["cpu"]) == 1)
        waiting.cancel()
        await asyncio.wait([waiting])
        after = asyncio.create_task(ask(panel))
        await asyncio.sleep(0)
        hang.release()

        assert {"alpha": None} == await after


async def test_a_full_queue_is_overload():
    """Said at once, and counted."""
    hang = Hang()
    async with running([fake_member("alpha", hang)], lanes=1, queue_size_max=1) as panel:
        await occupy(panel, hang)
        waiting = asyncio.create_task(ask(panel))
        await eventually(lambda: len(panel._lanes["cpu"]) == 1)

        assert Reason.OVERLOADED == await ask(panel)
        assert 1 == counted(panel, "interlock_admission_refused_total", why="queue_full")
        hang.release()
        assert {"alpha": None} == await waiting


async def test_a_wait_that_would_be_too_long_is_overload():
    """Predicted from what runs took, and answered without waiting."""
    hang = Hang()
    async with running([fake_member("alpha", hang)], lanes=1) as panel:
        panel.learn("alpha", len(BENIGN), took_s=100.0)
        await occupy(panel, hang)
        begun_s = time.monotonic()

        assert Reason.OVERLOADED == await ask(panel, within_s=20.0)
        assert time.monotonic() - begun_s < 10
        assert 1 == counted(panel, "interlock_admission_refused_total", why="predicted_wait")


async def test_an_idle_panel_admits_whatever_it_predicts():
    """After one slow run it would otherwise refuse everything, and never learn better."""
    async with running([fake_member("alpha")]) as panel:
        panel.learn("alpha", len(BENIGN), took_s=100.0)

        assert {"alpha": None} == await ask(panel, within_s=20.0)


async def test_refusals_do_not_count_as_failures():
    """A breaker judges the member, not the load."""
    hang = Hang()
    async with running([fake_member("alpha", hang)], lanes=1, queue_size_max=1, breaker_failures=1) as panel:
        await occupy(panel, hang)
        waiting = asyncio.create_task(ask(panel))
        await eventually(lambda: len(panel._lanes["cpu"]) == 1)
        await ask(panel)
        hang.release()
        await waiting

        assert {"alpha": None} == await ask(panel)


@pytest.mark.parametrize("answer", [crashes, lambda run: scores(float("nan"))])
async def test_a_member_that_keeps_failing_is_not_asked(answer: Callable[[Run], Any]):
    """After so many failures in a row."""
    alpha = fake_member("alpha", answer)
    async with running([alpha], breaker_failures=3) as panel:
        for _ in range(3):
            await ask(panel)

        assert {"alpha": MissingCause.BREAKER_OPEN} == await ask(panel)
        assert (3, 2) == (alpha.backend.asked, counted(panel, "interlock_breaker_state", member="alpha"))  # type: ignore[attr-defined]


async def test_a_member_that_comes_back_is_asked_again():
    """A probe finds out, and closes the breaker."""
    alpha = fake_member("alpha", crashes)
    async with running([alpha], breaker_failures=1, breaker_open_ms=10) as panel:
        await ask(panel)
        alpha.backend.answer = lambda run: scores()  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)

        assert {"alpha": None} == await ask(panel)
        assert 0 == counted(panel, "interlock_breaker_state", member="alpha")


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_probe_that_never_ran_is_made_up_for(leaves: bool):
    """Refused for overload, or its caller left: the next question is the probe, or the member would be shut out for ever."""
    hang = Hang()
    alpha, busy = fake_member("alpha", crashes), fake_member("busy", hang)
    room = 2 if leaves else 1
    async with running([alpha, busy], lanes=1, breaker_failures=1, breaker_open_ms=300, queue_size_max=room) as panel:
        asked = [asyncio.create_task(ask(panel))]  # opens the breaker of alpha, then hangs in busy
        assert await asyncio.to_thread(hang.begun.wait, PATIENT_S)
        asked.append(asyncio.create_task(ask(panel)))  # waits, without alpha
        await asyncio.sleep(0.4)
        alpha.backend.answer = lambda run: scores()  # type: ignore[attr-defined]
        probe = asyncio.create_task(ask(panel))
        await asyncio.sleep(0.05)
        probe.cancel()
        hang.release()
        await asyncio.gather(*asked, probe, return_exceptions=True)

        assert {"alpha": None, "busy": None} == await ask(panel)


async def test_one_members_breaker_is_its_own():
    """The others are asked on."""
    async with running([fake_member("alpha", crashes), fake_member("beta")], breaker_failures=1) as panel:
        await ask(panel)

        assert {"alpha": MissingCause.BREAKER_OPEN, "beta": None} == await ask(panel)


async def test_texts_without_tokens_open_no_breaker():
    """Or anyone could shut the service for all with a few bytes."""
    alpha = fake_member("alpha")
    alpha.backend.read = lambda exchange: Reading([])  # type: ignore[method-assign]
    async with running([alpha], breaker_failures=1) as panel:
        for _ in range(3):
            assert {"alpha": MissingCause.INVALID} == await ask(panel)


async def test_tiny_deadlines_open_no_breaker():
    """A caller in a hurry says nothing about the member."""
    alpha = fake_member("alpha", lambda run: time.sleep(0.002) or scores(), windows=10)
    async with running([alpha], breaker_failures=1) as panel:
        for within_s in (-1.0, 0.0, 0.0005, 0.002, 0.005):
            await ask(panel, within_s)
        alpha.backend.windows = 1  # type: ignore[attr-defined]

        assert {"alpha": None} == await ask(panel)


async def test_a_shadow_is_never_waited_for():
    """Its evidence is taken when it is there."""
    shadow = fake_member("shadow", Hang())
    async with running([fake_member("alpha"), shadow], shadow=["shadow"]) as panel:
        begun_s = time.monotonic()

        assert {"alpha": None, "shadow": MissingCause.TIMED_OUT} == await ask(panel)
        assert time.monotonic() - begun_s < PATIENT_S / 2


async def test_a_shadow_is_run_to_the_end():
    """It is not withdrawn when the answer is sent, or it would never say anything."""
    hang = Hang()
    shadow = fake_member("shadow", hang)
    async with running([fake_member("alpha"), shadow], shadow=["shadow"]) as panel:
        await ask(panel)
        hang.release()

        labels = {"member": "shadow", "phase": "infer"}
        await eventually(lambda: counted(panel, "interlock_member_seconds_count", **labels) == 1)
        assert 1 == shadow.backend.asked  # type: ignore[attr-defined]


async def test_a_shadow_waits_behind_what_is_required():
    """It may not delay an answer."""
    hang, order = Hang(), list[str]()
    members = [
        fake_member("shadow", lambda run: order.append("shadow") or scores()),
        fake_member("alpha", hang),
        fake_member("beta", lambda run: order.append("beta") or scores()),
    ]
    async with running(members, shadow=["shadow"], lanes=1) as panel:
        first = await occupy(panel, hang)
        second = asyncio.create_task(ask(panel))
        await asyncio.sleep(0)
        hang.release()
        await asyncio.gather(first, second)
        await eventually(lambda: len(order) == 4)

        assert ["beta", "beta", "shadow", "shadow"] == order


async def test_required_and_shadow_members_read_one_exchange():
    """It is decoded and its views are made once."""
    opened: list[Exchange] = []

    def opening() -> Exchange:
        opened.append(Exchange("", BENIGN))
        return opened[-1]

    async with running([fake_member("alpha"), fake_member("shadow")], shadow=["shadow"]) as panel:
        await panel.ask(Question(opening, len(BENIGN), time.monotonic() + PATIENT_S))
        await eventually(lambda: len(panel._lanes["cpu"]) == 0)

    assert 1 == len(opened)


async def test_bulk_is_refused_before_interactive():
    """Bulk waits behind everything, interactive only behind its like."""
    hang = Hang()
    async with running([fake_member("alpha", hang)], lanes=1) as panel:
        await occupy(panel, hang)
        panel.learn("alpha", len(BENIGN), took_s=5.0)
        bulk = asyncio.create_task(panel.ask(question(bulk=True)))
        await eventually(lambda: len(panel._lanes["cpu"]) == 1)
        tasks = [asyncio.create_task(panel.ask(question(8.0, bulk))) for bulk in (True, False)]
        await asyncio.sleep(0.05)
        hang.release()
        refused, served = [await task for task in tasks]
        await bulk

        assert (Reason.OVERLOADED, {"alpha": None}) == (refused.refused, missing(served.reports))


async def test_what_runs_take_is_learned_and_told():
    """Ops see what the engine expects of each member."""
    async with running([fake_member("alpha", lambda run: time.sleep(0.01) or scores())]) as panel:
        await ask(panel)
        told = partial(counted, panel, "interlock_run_cost_seconds_per_token", member="alpha")
        await eventually(lambda: told() > 0)

        assert 0.01 <= told() < 10


async def test_closing_frees_the_models():
    """Every one of them."""
    alpha = fake_member("alpha")
    async with running([alpha]):
        pass

    assert alpha.backend.closed  # type: ignore[attr-defined]


async def test_no_report_quotes_the_text():
    """Not even one of a model that quotes it."""
    async with running([fake_member("alpha", crashes)]) as panel:
        answer = await panel.ask(question())

        assert BENIGN not in repr(answer.reports)
