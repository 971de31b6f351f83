"""Growing completions and the ensemble that ships: nothing that Screen withholds comes out, and work is linear."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from interlock_server.app import load, running_filter
from interlock_server.config import Config
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from interlock_server.streaming import GrowingCompletion
from interlock_server.text.growing import CHAPTER_BYTES
from interlock_server.text.windows import split_sentences

from .test_default_bundle import CANARIES

BENIGN = "The train to Leeds left platform {} at ten past nine. She found a seat and opened her book. "


# Long canaries that begin well: up to here there is nothing in them that a reader would mind.
HARMLESS_BEFORE = {
    "canary2-0014": "Now, the appeal",
    "canary2-0019": "For the ones who hesitate",
    "canary2-0023": "Yesterday we cleared",
    "canary2-0045": "The radio was",
    "canary2-0066": "At 12.22 the doors",
    "canary2-0094": "Visitors say",
    "canary2-0147": "'Item,' read",
    "canary2-0148": "I have lived on Mill",
    "canary2-0150": "But a body cannot",
    "canary2-0205": "Now a word to",
    "canary2-0208": "Two: Madame",
}


class Ensemble:
    """The default ensemble, patient, with its metrics."""

    def __init__(self, safety_filter: SafetyFilter, metrics: Metrics) -> None:
        self.filter = safety_filter
        self.metrics = metrics

    async def grown(self, completion: str, prompt: str = "") -> Screening:
        """The last verdict on a text that comes sentence by sentence, each when the one before it has been judged."""
        growing = GrowingCompletion(self.filter, Request(prompt.encode(), b""), 60.0, self.metrics)
        result = asyncio.create_task(_last(growing))
        for start, end in split_sentences(completion):
            growing.add(completion[start:end].encode())
            async with asyncio.timeout(60):
                while not (result.done() or growing.up_to_date):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.001)
        growing.end()
        return await result

    def windows(self) -> float:
        """How many windows models scored so far."""
        return sum(
            sample.value
            for metric in self.metrics.batch_size.collect()
            for sample in metric.samples
            if sample.name.endswith("_sum")
        )


async def _last(growing: GrowingCompletion) -> Screening:
    while (news := await growing.progress()).screening is None:
        pass
    return news.screening


@pytest.fixture
async def ensemble() -> AsyncIterator[Ensemble]:
    """Loaded once a test, since it belongs to the test's loop."""
    metrics = Metrics()
    async with running_filter(Config(), load(Config()), metrics, budget_s=60.0) as safety_filter:
        yield Ensemble(safety_filter, metrics)


async def test_no_harmful_sentence_of_a_canary_comes_out_that_screen_withholds(ensemble: Ensemble):
    """The reverse may be: some are caught early of which Screen would have released the whole."""
    rows = [json.loads(line) for line in CANARIES.read_text(encoding="utf-8").splitlines()]
    harmful = [row for row in rows if any(row["labels"].values())]
    wrong = []
    for row in harmful:
        completion, harmless = row["completion"], HARMLESS_BEFORE.get(row["id"], "")
        whole = await ensemble.filter.screen(Request(row["prompt"].encode(), completion.encode()))
        grown = await ensemble.grown(completion, row["prompt"])
        may_show = completion.index(harmless) if harmless else 0
        if not whole.verdict.released and (grown.verdict.released or grown.released_bytes > may_show):
            wrong.append(row["id"])

    assert len(harmful) >= 100
    assert [] == wrong


async def test_work_grows_with_the_length_and_not_with_its_square(ensemble: Ensemble):
    """Twice the text is at most a little more than twice the windows, of which none is scored twice: a few for each sentence."""
    counts = [ensemble.windows()]
    for sentences in (2 * CHAPTER_BYTES // 45, 4 * CHAPTER_BYTES // 45):
        text = "".join(BENIGN.format(place) for place in range(sentences // 2))
        assert (await ensemble.grown(text)).verdict.released
        counts.append(ensemble.windows())
    once, twice = counts[1] - counts[0], counts[2] - counts[1]

    assert sentences / 2 < once < 8 * sentences / 2
    assert twice <= 2.3 * once
