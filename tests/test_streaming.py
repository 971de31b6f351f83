"""A completion that is screened while it is being written: what is shown was covered by a verdict, and the end is Screen's."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import CATEGORIES, HARMFUL, write_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from interlock_server.bundle.load import load_bundle
from interlock_server.decision.evidence import MemberEvidence, MissingCause
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Action, Decision, Reason
from interlock_server.filter import SafetyFilter
from interlock_server.inference.panel import Answer, Question
from interlock_server.inference.scoring import MemberReport
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from interlock_server.streaming import ATTEMPTS_MAX, GrowingCompletion
from interlock_server.text.exchange import Exchange

NAMES = ("alpha", "beta", "gamma")
SENTENCES = [
    "She poured tea. ",
    "“Really?” he said.\n",
    "Été à Paris… ",
    "🙂 ok! ",
    "no end",
    "\n\n",
    HARMFUL + " ",
    "e.g. ",
]
HOLD_BACK = 20
CLEAR = 0.01


class PhrasePanel:
    """Members to whom a text is harmful that shows the phrase in any view; `outages` of the next answers are missing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cleared: list[str] = []
        self.outages = 0

    async def ask(self, question: Question) -> Answer:
        opened = question.opening()
        await asyncio.sleep(0)  # others run, as they do while models are asked
        if isinstance(opened, Reason):
            return Answer(refused=opened)
        self.asked.append(opened.completion)
        if self.outages:
            self.outages -= 1
            missing = (MemberReport(MemberEvidence(name, missing=MissingCause.TIMED_OUT)) for name in NAMES)
            return Answer(tuple(missing), opened)
        reports = tuple(_report(name, opened) for name in NAMES)
        if set(reports[0].evidence.scores.values()) == {CLEAR}:
            self.cleared.append(opened.completion)
        return Answer(reports, opened)


def _report(name: str, exchange: Exchange) -> MemberReport:
    harmful = any("stabbed" in view.text for view in exchange.views)
    # Everyone is clear at 0.25, but together they are not; a doubt is gone when tea is mentioned.
    doubtful = DOUBTFUL.strip() in exchange.completion and "tea" not in exchange.completion
    score = 0.99 if harmful else 0.25 if doubtful else CLEAR
    span = (0, exchange.completion_bytes)
    evidence = MemberEvidence(name, dict.fromkeys(CATEGORIES, score), coverage_complete=True)
    return MemberReport(evidence, dict.fromkeys(CATEGORIES, span), (span,))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    path = Path(tmp_path_factory.mktemp("bundle"))
    limits = {"completion_bytes_max": 4_000}
    write_bundle(path, limits=limits, latency_budget_ms=20_000, streaming={"hold_back_bytes": HOLD_BACK})
    return load_bundle(path).policy


class Stream:
    """A growing completion over a PhrasePanel, and everything that it showed."""

    def __init__(self, policy: Policy, idle_s: float = 60.0, deadline_s: float = float("inf")) -> None:
        self.panel = PhrasePanel()
        self.metrics = Metrics()
        self.filter = SafetyFilter(self.panel, policy, 0.0, self.metrics)  # type: ignore[arg-type]
        asked = Request(b"", b"", deadline_s=deadline_s)
        self.growing = GrowingCompletion(self.filter, asked, idle_s, self.metrics)
        self.shown: list[tuple[int, bytes]] = []

    async def result(self) -> Screening:
        """The last verdict."""
        while True:
            news = await self.growing.progress()
            self.shown.append((news.released_bytes, news.released_sha256))
            if news.screening is not None:
                return news.screening

    async def fed(self, chunks: Sequence[bytes], end: bool = True) -> Screening:
        """The last verdict on these chunks, which come one after the other while parts are judged."""
        result = asyncio.create_task(self.result())
        for chunk in chunks:
            self.growing.add(chunk)
            await asyncio.sleep(0)
        if end:
            self.growing.end()
        else:
            self.growing.break_off()
        return await result

    @property
    def released(self) -> int:
        return self.shown[-1][0]


def covered(raw: bytes, cleared: Sequence[str], size: int) -> bool:
    """Whether the first bytes are a chain of texts that were cleared, each going on where those before it end."""
    reached = 0
    for content in (text.encode() for text in cleared):
        starts = (place for place in range(reached + 1) if raw.startswith(content, place))
        reached = max([reached, *(place + len(content) for place in starts)])
    return size <= reached


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run, for as long as a dead stream would take to be noticed."""
    for _ in range(100_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


@settings(max_examples=120, deadline=None)
@given(
    sentences=st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=14),
    cuts=st.lists(st.integers(0, 10_000), max_size=30),
)
def test_what_is_shown_is_a_prefix_that_verdicts_cover_and_the_end_is_that_of_screen(
    policy: Policy, sentences: list[str], cuts: list[int]
):
    """For every text and every chunking; and no byte of the harmful sentence is ever among it."""
    raw = "".join(sentences).encode()
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    chunks = [raw[start:end] for start, end in pairwise(places)]

    async def run() -> tuple[Stream, Screening, Screening]:
        stream = Stream(policy)
        last = await stream.fed(chunks)
        return stream, last, await stream.filter.screen(Request(b"", raw))

    stream, last, whole = asyncio.run(run())
    harmful_at = raw.find(HARMFUL.encode())

    assert whole.verdict.decision == last.verdict.decision
    assert all(hashlib.sha256(raw[:size]).digest() == digest for size, digest in stream.shown)
    assert (len(raw) if last.verdict.released else last.released_bytes) == stream.released
    assert harmful_at < 0 or stream.released <= harmful_at
    assert all(covered(raw, stream.panel.cleared, size) for size, _ in stream.shown)


async def test_sentences_come_out_before_the_text_has_ended(policy: Policy):
    """Else it would be no stream."""
    stream = Stream(policy)
    result = asyncio.create_task(stream.result())
    stream.growing.add(b"She poured tea. He sat down. She asked him how it had been at sea. And")
    await until(lambda: bool(stream.shown))
    stream.growing.end()
    await result

    assert [29, 70] == [size for size, _ in stream.shown]


async def test_a_withhold_is_final_and_says_how_much_is_to_be_retracted(policy: Policy):
    """Whatever comes after it."""
    benign = b"She poured tea. He sat down by the window. "
    stream = Stream(policy)
    last = await stream.fed([benign, b"He smiled at her. ", HARMFUL.encode(), b" And then."])

    assert (Decision.WITHHOLD, Action.RETRACT, 16) == (last.verdict.decision, last.verdict.action, last.released_bytes)
    assert 1 == stream.metrics.registry.get_sample_value("interlock_stream_retractions_total")
    assert 1 == stream.metrics.registry.get_sample_value(
        "interlock_verdicts_total", {"decision": "WITHHOLD", "reason": "HARMFUL"}
    )


@pytest.mark.parametrize("chunks", [[b"She sat. He sat down again at last. She"], []])
async def test_a_stream_without_an_end_releases_nothing_more(policy: Policy, chunks: list[bytes]):
    """The caller half-closed: perhaps his generator died."""
    stream = Stream(policy)
    last = await stream.fed(chunks, end=False)

    assert (Reason.INPUT_INCOMPLETE,) == last.verdict.reasons
    assert stream.released == last.released_bytes == 0


async def test_a_stalled_stream_is_withheld(policy: Policy):
    """Nothing came for too long."""
    last = await Stream(policy, idle_s=0.01).result()

    assert (Reason.INPUT_INCOMPLETE,) == last.verdict.reasons


async def test_a_stream_ends_at_its_deadline(policy: Policy):
    """However often a little more of it comes."""
    stream = Stream(policy, deadline_s=time.monotonic() + 0.01)
    stream.growing.add(b"She")
    last = await stream.result()

    assert (Reason.INPUT_INCOMPLETE,) == last.verdict.reasons


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [(b"x" * 4_001, Reason.INPUT_TOO_LONG), (b"\xff", Reason.INPUT_UNREADABLE), (b"\0", Reason.INPUT_UNREADABLE)],
)
async def test_what_cannot_be_judged_is_withheld(policy: Policy, chunk: bytes, reason: Reason):
    """The same reasons as those of Screen."""
    last = await Stream(policy).fed([chunk])

    assert (reason,) == last.verdict.reasons


async def test_an_outage_is_waited_out_without_releasing_anything(policy: Policy):
    """A member was late once: that is not about the text, and costs a stream a moment."""
    stream = Stream(policy)
    stream.panel.outages = ATTEMPTS_MAX - 1
    last = await stream.fed([b"She poured tea."])

    assert last.verdict.released
    assert [15] == [size for size, _ in stream.shown]


async def test_a_lasting_outage_ends_the_stream(policy: Policy):
    """Nobody waits for ever."""
    stream = Stream(policy)
    stream.panel.outages = ATTEMPTS_MAX
    last = await stream.fed([b"She poured tea."])

    assert (Reason.MEMBER_TIMED_OUT,) == last.verdict.reasons


async def test_parts_do_not_grow_with_the_text(policy: Policy):
    """What members read in all is a few times the text, not its square."""
    sentences = [b"She poured another cup of tea %d. " % place for place in range(100)]
    stream = Stream(policy)
    result = asyncio.create_task(stream.result())
    for place, sentence in enumerate(sentences, 1):
        stream.growing.add(sentence)
        await until(lambda judged=place - 1: len(stream.panel.asked) >= judged)
    stream.growing.end()
    await result

    assert 100 == len(stream.panel.asked)
    assert max(map(len, stream.panel.asked[:-1])) < 2_200


DOUBTFUL = "Did she mean it, or did she not? "


async def test_a_doubt_may_be_settled_by_what_comes_next(policy: Policy):
    """The beginning of a text is often less clear than the whole; meanwhile nothing is released."""
    stream = Stream(policy)
    result = asyncio.create_task(stream.result())
    stream.growing.add(f"{DOUBTFUL}S".encode())
    await until(lambda: len(stream.panel.asked) == 1)
    stream.growing.add(b"he poured the tea, and that was that. H")
    stream.growing.end()

    assert (await result).verdict.released


async def test_a_doubt_that_is_not_settled_ends_the_stream(policy: Policy):
    """After as many bytes as the policy says; else somebody would write on for nothing."""
    stream = Stream(policy)
    result = asyncio.create_task(stream.result())
    for place in range(1, 200):
        if result.done():
            break
        stream.growing.add(DOUBTFUL.encode())
        await until(lambda judged=place - 1: result.done() or len(stream.panel.asked) >= judged)

    assert (Reason.UNCERTAIN,) == (await result).verdict.reasons
    assert (
        policy.streaming.doubt_bytes
        < len(stream.panel.asked[-1])
        < policy.streaming.doubt_bytes + 2 * len(DOUBTFUL) + 1
    )


async def test_places_in_a_verdict_are_those_of_the_whole_text(policy: Policy):
    """A part begins somewhere; its caller knows only the text."""
    stream = Stream(policy)
    benign = b"She poured another cup of tea and sat down. " * 60
    result = asyncio.create_task(stream.result())
    for start in range(0, len(benign), 44):
        stream.growing.add(benign[start : start + 44])
        await asyncio.sleep(0.001)
    stream.growing.add(HARMFUL.encode() + b" x")
    last = await result

    assert len(benign) + len(HARMFUL) + 1 == last.reports[0].coverage[0][1]
