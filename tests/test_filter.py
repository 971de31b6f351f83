"""SafetyFilter: every way in which an exchange can be unfit to judge, and everything that can go wrong, withholds."""

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import BENIGN, CATEGORIES, write_bundle
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Decision, Reason
from interlock_server.filter import SafetyFilter
from interlock_server.inference.cache import EvidenceCache
from interlock_server.inference.panel import Answer, Question
from interlock_server.inference.scoring import MemberReport
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from interlock_server.text.exchange import Exchange
from prometheus_client import generate_latest

MARKER = "xyzzy-marker"
NAMES = ("alpha", "beta", "gamma")


class FakePanel:
    """Reads the exchange, says what it was told to, and remembers what it was asked."""

    def __init__(self, answer: Callable[[], Sequence[MemberReport]]) -> None:
        self.answer = answer
        self.questions: list[Question] = []
        self.asked: list[Exchange] = []

    async def ask(self, question: Question) -> Answer:
        """Whatever `answer` does, unless the exchange cannot be judged."""
        self.questions.append(question)
        opened = question.opening()
        if isinstance(opened, Reason):
            return Answer(refused=opened)
        self.asked.append(opened)
        return Answer(self.answer(), opened)  # type: ignore[arg-type]


def report(member: str, score: float = 0.01, **changes: Any) -> MemberReport:
    given = {"scores": dict.fromkeys(CATEGORIES, score), "coverage_complete": True, **changes}
    return MemberReport(MemberEvidence(member, **given), dict.fromkeys(CATEGORIES, (0, 1)))


def everybody(score: float = 0.01) -> list[MemberReport]:
    return [report(name, score) for name in NAMES]


def quotes_the_text() -> list[MemberReport]:
    raise RuntimeError(f"cannot handle {MARKER}")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The test policy, read from a bundle."""
    path = tmp_path_factory.mktemp("bundle")
    limits = {"completion_bytes_max": 20_000, "prompt_bytes_max": 1_000}
    write_bundle(Path(path), limits=limits, latency_budget_ms=20_000)
    return load_bundle(Path(path)).policy


class Filter:
    """A filter over a fake panel, with its metrics."""

    def __init__(
        self,
        policy: Policy,
        answer: Callable[[], Sequence[MemberReport]] = everybody,
        cache: EvidenceCache | None = None,
    ) -> None:
        self.panel = FakePanel(answer)
        self.metrics = Metrics()
        self.inner = SafetyFilter(self.panel, policy, 0.0, self.metrics, cache=cache)  # type: ignore[arg-type]

    async def screen(self, completion: bytes = BENIGN.encode(), prompt: bytes = b"", **asked: Any) -> Screening:
        return await self.inner.screen(Request(prompt, completion, **asked))

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_clear_text_is_released(policy: Policy):
    """When every member says so, completely."""
    screening = await Filter(policy).screen()

    assert (Decision.RELEASE, ()) == (screening.verdict.decision, screening.verdict.reasons)
    assert hashlib.sha256(BENIGN.encode()).digest() == screening.completion_sha256


async def test_a_harmful_text_is_withheld(policy: Policy):
    """And says so."""
    screening = await Filter(policy, lambda: everybody(0.99)).screen()

    assert (Decision.WITHHOLD, Reason.HARMFUL) == (screening.verdict.decision, screening.verdict.reasons[0])


DEFECTS: list[tuple[dict[str, Any], Reason]] = [
    ({"completion": b""}, Reason.INPUT_EMPTY),
    ({"completion": b" \n\t "}, Reason.INPUT_EMPTY),
    ({"completion": "\u200b\u2060\ufeff\u202e".encode()}, Reason.INPUT_EMPTY),
    ({"completion": "\u0301".encode()}, Reason.INPUT_EMPTY),
    ({"completion": "Она налила две чашки чая.".encode()}, Reason.OUT_OF_DISTRIBUTION),
    ({"completion": b"0J7QvdCwINC90LDQu9C40LvQsCDQtNCy0LUg0YfQsNGI0LrQuCDRh9Cw0Y8u"}, Reason.OUT_OF_DISTRIBUTION),
    ({"completion": b"x" * 20_001}, Reason.INPUT_TOO_LONG),
    ({"prompt": b"x" * 1_001}, Reason.INPUT_TOO_LONG),
    ({"completion": b"caf\xc3"}, Reason.INPUT_UNREADABLE),
    ({"completion": b"\xed\xa0\x80"}, Reason.INPUT_UNREADABLE),
    ({"completion": b"a\0b"}, Reason.INPUT_UNREADABLE),
    ({"completion": b"tea &amp;amp;amp;amp; toast"}, Reason.INPUT_UNREADABLE),  # encoded deeper than anyone looks
    ({"completion": b"a\0b" * 5_000}, Reason.INPUT_UNREADABLE),
    ({"prompt": b"\xff"}, Reason.INPUT_UNREADABLE),
    ({"deadline_s": 0.0}, Reason.DEADLINE),
    ({"deadline_s": -math.inf}, Reason.DEADLINE),
    ({"deadline_s": math.nan}, Reason.DEADLINE),
    ({"deadline_s": 0.0, "completion": b"word " * 2_000}, Reason.DEADLINE),
]


@pytest.mark.parametrize(("asked", "reason"), DEFECTS)
async def test_a_defect_withholds_and_is_named(policy: Policy, asked: dict[str, Any], reason: Reason):
    """No member is asked, and each is said not to have been."""
    tested = Filter(policy)
    screening = await tested.screen(**asked)

    assert (Decision.WITHHOLD, (reason,)) == (screening.verdict.decision, screening.verdict.reasons)
    assert [] == tested.panel.asked
    assert {MissingCause.NOT_ASKED} == {item.evidence.missing for item in screening.reports}


async def test_a_text_at_its_limit_is_not_too_long(policy: Policy):
    """The limit is the last length that is read."""
    assert (await Filter(policy).screen(b"so it is " * 2_222 + b"so", b"x" * 1_000)).verdict.released


async def test_an_unknown_profile_withholds(policy: Policy):
    """Nobody falls back to a default that was not asked for."""
    screening = await Filter(policy).screen(profile="lenient")

    assert (Decision.WITHHOLD, (Reason.POLICY_INVALID,)) == (screening.verdict.decision, screening.verdict.reasons)


@pytest.mark.parametrize("extra_margin", [math.nan, math.inf, -math.inf, -1.0])
async def test_a_tightening_that_is_no_number_withholds(policy: Policy, extra_margin: float):
    """Whoever sends it did not mean to loosen anything."""
    screening = await Filter(policy).screen(extra_margin=extra_margin)

    assert Decision.WITHHOLD == screening.verdict.decision
    assert Reason.POLICY_INVALID in screening.verdict.reasons


async def test_a_tightening_can_only_withhold(policy: Policy):
    """Up to the margin it changes nothing, beyond it the text stays in."""
    tested = Filter(policy)
    margin = (await tested.screen()).verdict.margin
    assert margin is not None

    assert (await tested.screen(extra_margin=margin - 0.1)).verdict.released
    assert not (await tested.screen(extra_margin=margin)).verdict.released


@pytest.mark.parametrize(
    "answer",
    [
        list,
        lambda: everybody()[:2],
        lambda: [*everybody(), report("alpha", 0.01)],  # twice
        lambda: [report(name, math.nan) for name in NAMES],
        lambda: [*everybody()[:2], report("gamma", coverage_complete=False)],
        lambda: [*everybody()[:2], report("gamma", missing=MissingCause.TIMED_OUT)],
        lambda: [*everybody()[:2], report("delta")],
    ],
)
async def test_less_than_complete_evidence_withholds(policy: Policy, answer: Callable[[], Sequence[MemberReport]]):
    """However benign what there is looks."""
    assert not (await Filter(policy, answer).screen()).verdict.released


async def test_an_exception_is_an_internal_error(policy: Policy, caplog: pytest.LogCaptureFixture):
    """It withholds, it is counted, and the log has its type and place but not what it says."""
    tested = Filter(policy, quotes_the_text)
    screening = await tested.screen()

    assert (Decision.WITHHOLD, (Reason.INTERNAL_ERROR,)) == (screening.verdict.decision, screening.verdict.reasons)
    assert 1 == tested.counted("interlock_verdicts_total", decision="WITHHOLD", reason="INTERNAL_ERROR")
    assert "RuntimeError" in str(vars(caplog.records[0]))
    assert MARKER not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("answer", [lambda: None, lambda: [None], lambda: 7])
async def test_a_panel_that_talks_nonsense_is_an_internal_error(policy: Policy, answer: Callable[[], Any]):
    """Nonsense is no evidence."""
    assert (Reason.INTERNAL_ERROR,) == (await Filter(policy, answer).screen()).verdict.reasons


async def test_leaving_cancels(policy: Policy):
    """Cancelling is the one thing that passes through."""

    def leaves() -> list[MemberReport]:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Filter(policy, leaves).screen()


async def test_a_refusal_from_outside_withholds(policy: Policy):
    """Such as too many requests in flight."""
    tested = Filter(policy)
    screening = await tested.inner.screen(Request(b"", BENIGN.encode(), refused=Reason.OVERLOADED))

    assert ((Reason.OVERLOADED,), True) == (screening.verdict.reasons, screening.verdict.retryable)
    assert [] == tested.panel.asked


async def test_bulk_is_passed_on(policy: Policy):
    """The panel lets it wait."""
    tested = Filter(policy)
    await tested.screen(bulk=True)
    await tested.screen()

    assert [True, False] == [question.bulk for question in tested.panel.questions]


async def test_cached_evidence_is_decided_afresh(policy: Policy):
    """The members are asked once; the second request is stricter, and withheld."""
    tested = Filter(policy, cache=EvidenceCache(10, False, "sha256:1"))
    first, second = await tested.screen(), await tested.screen(extra_margin=100.0)

    assert (True, False, 1) == (first.verdict.released, second.verdict.released, len(tested.panel.asked))
    assert 1 == tested.counted("interlock_evidence_cache_total", result="hit")


async def test_evidence_is_not_shared_between_callers(policy: Policy):
    """Each caller's first request is scored."""
    tested = Filter(policy, cache=EvidenceCache(10, False, "sha256:1"))
    for caller in ("one", "two", "one"):
        await tested.screen(caller=caller)

    assert 2 == len(tested.panel.asked)


async def test_verdicts_are_counted(policy: Policy):
    """By decision and first reason, with their time, margin and scores."""
    tested = Filter(policy)
    await tested.screen()
    await tested.screen(b"")

    assert 1 == tested.counted("interlock_verdicts_total", decision="RELEASE", reason="")
    assert 1 == tested.counted("interlock_verdicts_total", decision="WITHHOLD", reason="INPUT_EMPTY")
    assert 1 == tested.counted("interlock_screen_seconds_count", rpc="Screen", decision="RELEASE")
    assert 1 == tested.counted("interlock_margin_count")
    assert 1 == tested.counted("interlock_member_score_count", member="alpha", category="illicit")
    assert 1 == tested.counted("interlock_missing_total", member="alpha", cause="NOT_ASKED")


async def test_views_and_what_they_cost_are_counted(policy: Policy):
    """What was hidden in texts, and how many tokens a member scored for each of its input."""
    read = MemberReport(everybody()[0].evidence, tokens_scored=30, input_tokens=20)
    tested = Filter(policy, lambda: [read, *everybody()[1:]])
    await tested.screen(b"k&#105;ll a &#112;rocess")

    assert 1 == tested.counted("interlock_text_views_total", view="escapes")
    assert 1.5 == tested.counted("interlock_tokens_scored_per_input_token_sum", member=NAMES[0])
    assert 0 == tested.counted("interlock_tokens_scored_per_input_token_count", member=NAMES[1])


async def test_dissent_is_counted(policy: Policy):
    """Per member and category, apart from outages."""
    tested = Filter(policy, lambda: [*everybody()[:2], report("gamma", 0.6)])
    await tested.screen()

    assert 1 == tested.counted("interlock_dissent_total", member="gamma", category="illicit")
    assert 0 == tested.counted("interlock_dissent_total", member="alpha", category="illicit")
    assert 1 == tested.counted("interlock_withheld_total", category="illicit", reason="DISAGREEMENT")


async def test_callers_that_only_observe_are_counted(policy: Policy):
    """Their verdicts are as strict as any."""
    tested = Filter(policy, lambda: everybody(0.99))
    screening = await tested.screen(observed_only=True)

    assert (False, 1) == (screening.verdict.released, tested.counted("interlock_enforcement_observed_total"))


@pytest.mark.parametrize("answer", [everybody, lambda: everybody(0.99), quotes_the_text])
@pytest.mark.parametrize("broken", [b"", b"\xff", b"\0"])
async def test_no_text_is_counted_or_logged(
    policy: Policy, caplog: pytest.LogCaptureFixture, answer: Callable[[], Any], broken: bytes
):
    """Whatever happens to it."""
    caplog.set_level("DEBUG")
    tested = Filter(policy, answer)
    await tested.screen(MARKER.encode() + broken, MARKER.encode(), profile="")

    assert MARKER.encode() not in generate_latest(tested.metrics.registry)
    assert MARKER not in str([vars(record) for record in caplog.records])


async def test_a_profile_name_is_not_a_label(policy: Policy):
    """Nothing that a caller wrote is."""
    tested = Filter(policy)
    await tested.screen(profile=MARKER)

    assert MARKER.encode() not in generate_latest(tested.metrics.registry)
