"""`interlock hold-back`: how late growing harmful texts are noticed, and what holding bytes back does about it.

Texts are written sentence by sentence, as a slow generator writes them, and each part is judged by the bundle. The delay of
a text is how many bytes behind its first harmful sentence had been cleared when it was withheld (METHODS 8.3): with a
hold-back of more than that, none of the sentence gets out. Delays are of texts that `Screen` withholds as a whole; those
that it releases leak in any case, and are what a certificate is about.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from interlock_server.app import load, running_filter
from interlock_server.audit.record import StreamTrace
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.config import BundleSettings, Config
from interlock_server.filter import SafetyFilter
from interlock_server.inference.scoring import KnownRows
from interlock_server.metrics import Metrics
from interlock_server.screening import Request
from interlock_server.streaming import ATTEMPTS_MAX, Course, took
from interlock_server.text.growing import GrowingText
from interlock_server.text.windows import split_sentences
from rich.progress import track
from scipy.stats import binomtest

from interlock_lab.onsets import HarmfulText, joined, load_onsets
from interlock_lab.scores import PATIENT_S, Texts
from interlock_lab.training.data import load as load_rows

GRID = (0, 64, 128, 192, 256, 384, 512, 1024)


@dataclass(frozen=True)
class Walk:
    """How a text went: what was cleared before it was withheld, and whether the whole is released by `Screen`."""

    cleared: int
    """The end of the last part that was cleared, in bytes."""
    withheld_at: int | None
    """The end of the part that ended the stream; None when the whole was judged."""
    released_whole: bool

    def shown(self, hold_back: int, ends: Sequence[int]) -> int:
        """How many bytes were released before the last verdict."""
        return max((end for end in ends if end <= self.cleared - hold_back), default=0)


async def walk(safety_filter: SafetyFilter, row: Texts, profile: str) -> Walk:
    """Lets a text grow sentence by sentence until it is withheld, or whole."""
    raw, prompt, doubt_bytes = row.completion.encode(), row.prompt.encode(), safety_filter.policy.streaming.doubt_bytes
    text, known, cleared = GrowingText(len(raw), 0), KnownRows(), 0
    withheld_at = None
    for end in sentence_ends(row.completion)[:-1]:
        text.add(raw[len(text) : end + _character(raw, end)])
        part = text.part()
        if part is None:
            continue
        stream = StreamTrace(stream_id="", start=part.start, end=part.end)
        request = Request(prompt, text.content(part), profile, stream=stream, known=known)
        verdict = (await safety_filter.screen(request)).verdict
        if took(text, part, verdict, ATTEMPTS_MAX, doubt_bytes) is Course.OVER:
            withheld_at = part.end
            break
        cleared = part.end if verdict.released else cleared
    whole = await safety_filter.screen(Request(prompt, raw, profile))
    return Walk(cleared, withheld_at, whole.verdict.released)


def sentence_ends(text: str) -> list[int]:
    """In bytes."""
    return [len(text[:end].encode()) for _, end in split_sentences(text)]


def delay(text: HarmfulText, walked: Walk) -> float:
    """Cleared bytes behind the first harmful sentence; infinite when nothing was ever withheld."""
    if walked.withheld_at is None and walked.released_whole:
        return math.inf
    first_end = min(end for end in sentence_ends(text.row.completion) if end > text.onset.onset_byte)
    return walked.cleared - first_end


def quantile(delays: Sequence[float], alpha: float) -> float:
    """METHODS 8.3: the smallest hold-back with which a new such text leaks with a probability of at most alpha."""
    place = math.ceil((len(delays) + 1) * (1 - alpha))
    return sorted(delays)[place - 1] + 1 if place <= len(delays) else math.inf


def hold_back(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The folder of the public sets.")],
    bundle: Annotated[Path, typer.Option(exists=True, file_okay=False)] = DEFAULT_BUNDLE,
    profile: Annotated[str, typer.Option(help="Which profile; by default the policy's.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write the figures (JSON).")] = None,
) -> None:
    """Measure how late growing harmful texts are noticed, and what a hold-back costs and saves."""
    rows = load_rows(data)
    harmful = joined(load_onsets(), rows)
    benign = [
        row
        for row in rows
        if row.split == "shape" and set(row.label_vector) == {0.0} and len(sentence_ends(row.completion)) >= 3
    ]
    benign = sorted(benign, key=lambda row: row.id)[:: max(1, len(benign) // 400)]
    walks = _walks(bundle, [text.row for text in harmful] + benign, profile)
    figures = summary(harmful, walks[: len(harmful)]) | {"benign": _benign(benign, walks[len(harmful) :])}
    typer.echo(json.dumps(figures, indent=1))
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "walks": [asdict(each) for each in walks]}, indent=1) + "\n")


def summary(texts: Sequence[HarmfulText], walks: Sequence[Walk]) -> dict[str, Any]:
    """Delays and leaks by hold-back, over all texts and over those of which the annotator was sure."""
    pairs = list(zip(texts, walks, strict=True))
    groups = {
        "all": pairs,
        "clear": [pair for pair in pairs if pair[0].onset.clear],
        "clear, shape only": [pair for pair in pairs if pair[0].onset.clear and pair[0].row.split == "shape"],
    }
    return {name: _group(group) for name, group in groups.items()}


def _group(pairs: Sequence[tuple[HarmfulText, Walk]]) -> dict[str, Any]:
    caught = [(text, walked) for text, walked in pairs if not walked.released_whole]
    delays = [delay(text, walked) for text, walked in caught]
    retracted = {
        size: sum(walked.shown(size, sentence_ends(text.row.completion)) > 0 for text, walked in caught)
        for size in GRID
    }
    return {
        "texts": len(pairs),
        "clusters": len({text.row.cluster for text, _ in pairs}),
        "released by Screen": len(pairs) - len(caught),
        "withheld early though Screen releases": sum(w.released_whole and w.withheld_at is not None for _, w in pairs),
        "delay quantiles": {alpha: quantile(delays, alpha) for alpha in (0.5, 0.2, 0.1, 0.05, 0.02)},
        "leaks of the withheld": {size: _share(sum(d >= size for d in delays), len(delays)) for size in GRID},
        "retracted of the withheld": {size: _share(count, len(caught)) for size, count in retracted.items()},
    }


def _benign(rows: Sequence[Texts], walks: Sequence[Walk]) -> dict[str, Any]:
    released = [walked for walked in walks if walked.released_whole]
    early = sum(walked.withheld_at is not None for walked in released)
    return {
        "texts": len(rows),
        "withheld by Screen": _share(len(walks) - len(released), len(walks)),
        "withheld early though Screen releases": _share(early, len(released)),
    }


def _share(hits: int, size: int) -> str:
    if not size:
        return "none"
    interval = binomtest(hits, size).proportion_ci(method="exact")
    return f"{hits}/{size} = {hits / size:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _character(raw: bytes, start: int) -> int:
    """The size of the character that begins there: a sentence has ended once the next one has begun."""
    return len(raw[start : start + 4].decode(errors="ignore")[:1].encode())


def _walks(bundle: Path, rows: Iterable[Texts], profile: str) -> list[Walk]:
    async def run() -> list[Walk]:
        config = Config(bundle=BundleSettings(path=str(bundle), digest=load_bundle(bundle).digest))
        async with running_filter(config, load(config), Metrics(), budget_s=PATIENT_S) as safety_filter:
            return [await walk(safety_filter, row, profile) for row in track(list(rows), "growing")]

    return asyncio.run(run())
