"""The recorder: what is not on disk where it has to be is no release, whatever goes wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import write_bundle
from interlock_server.audit.record import Digests
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.recording import Recorder
from interlock_server.screening import Request, Screening
from test_streaming import PhrasePanel


def raising() -> bool:
    raise OSError("cannot")


class FakeLog:
    """A log that does what it is told."""

    def __init__(self, answer: Callable[[], bool], required: bool) -> None:
        self.answer = answer
        self.required = required
        self.reserve_s = 0.0
        self.entries: list[Any] = []

    async def write(self, entry: Any, until_s: float) -> bool:
        self.entries.append(entry)
        return self.answer()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    path = Path(tmp_path_factory.mktemp("bundle"))
    write_bundle(path, latency_budget_ms=20_000)
    return load_bundle(path).policy


async def screened(policy: Policy, log: FakeLog) -> Screening:
    """A harmless text, through a filter with this log."""
    metrics = Metrics()
    digests = Digests(bundle="", policy="", build="")
    recorder = Recorder(log, policy, {}, digests, metrics)  # type: ignore[arg-type]
    panel: Any = PhrasePanel()
    return await SafetyFilter(panel, policy, 0.0, metrics, recorder=recorder).screen(Request(b"", b"She poured tea."))


@pytest.mark.parametrize("answer", [lambda: False, raising])
async def test_what_is_not_recorded_is_not_released_where_records_are_required(
    policy: Policy, answer: Callable[[], bool]
):
    """Neither when the log says so nor when it breaks."""
    screening = await screened(policy, FakeLog(answer, required=True))

    assert (Reason.AUDIT_FAILED,) == screening.verdict.reasons


@pytest.mark.parametrize("answer", [lambda: True, lambda: False, raising])
async def test_a_log_that_is_not_required_decides_nothing(policy: Policy, answer: Callable[[], bool]):
    """It is an alarm for operators, not for callers."""
    assert (await screened(policy, FakeLog(answer, required=False))).verdict.released


async def test_what_was_answered_stands_behind_a_record_that_came_too_late(policy: Policy):
    """Under the same id."""
    log = FakeLog(lambda: False, required=True)
    screening = await screened(policy, log)

    assert [("RELEASE", screening.verdict_id), ("AUDIT_FAILED", screening.verdict_id)] == [
        (entry.label, entry.verdict_id) for entry in log.entries
    ]
