"""Makes the audit log `log/` that the replay tests decide again: `python make_log.py`, with the default bundle's models.

Evidence is what the default bundle says of texts in lab/data/written, which are kept in the log. Segments 1 and 2 are sealed,
3 is open. To be made anew when the default bundle, its policy or the format of records changes.
"""

import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from audit.samples import BEGUN_NS, write_log
from interlock_lab.scores import evidence_of
from interlock_lab.story.material import load_material
from interlock_server import __version__
from interlock_server.audit.record import (
    Digests,
    FeedbackRecord,
    Record,
    StreamTrace,
    TextTrace,
    VerdictRecord,
    decided,
)
from interlock_server.audit.seal import LOCK_FILE, seal
from interlock_server.audit.texts import TextKeeper
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import CertificateState, Evidence, MissingCause, not_asked
from interlock_server.decision.verdict import Reason

LOG = Path(__file__).parent / "log"
EVERY, TEXT_BYTES_MAX = 50, 400
PROFILES = ("", "", "", "cautious", "", "strict")
STREAMS, PARTS = 3, 4
MINUTE_NS = 60 * 1_000_000_000


class Row(NamedTuple):
    """A text to be judged."""

    prompt: str
    completion: str
    harmful: bool
    stream: StreamTrace | None = None


def main() -> None:
    """Writes the whole folder."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    rows = list(written())
    rows += [part for number, row in enumerate(rows[: 7 * STREAMS : 7]) for part in streamed(row, number)]
    evidence = evidence_of(DEFAULT_BUNDLE, rows, "judging texts")
    verdicts = [record(*pair, number, bundle) for number, pair in enumerate(zip(rows, evidence, strict=True))]
    reports = [report(number, rows[number], verdicts[number]) for number in range(0, len(rows), 4)]
    third = len(verdicts) // 3
    segments: list[list[Record]] = [verdicts[:third], verdicts[third : 2 * third], [*verdicts[2 * third :], *reports]]
    shutil.rmtree(LOG, ignore_errors=True)
    texts = {
        v.verdict_id: (row.prompt.encode(), row.completion.encode()) for v, row in zip(verdicts, rows, strict=True)
    }
    write_log(LOG, *segments, texts=texts, keeper=TextKeeper(kept="full", shares={"RELEASE": 1.0}))
    assert [1, 2] == list(seal(LOG))
    (LOG / LOCK_FILE).unlink()


def written() -> Iterator[Row]:
    """Some of the rows, short ones; none of the split `certify`, of which nobody may know a score."""
    known = [row for row in load_material().rows if row.split in ("fit", "shape")]
    for row in sorted(known, key=lambda row: row.id)[::EVERY]:
        if len(row.completion.encode()) <= TEXT_BYTES_MAX:
            yield Row(row.prompt, row.completion, bool(row.harmful_in))


def streamed(row: Row, number: int) -> Iterator[Row]:
    """The same text as it grew."""
    size, start = len(row.completion.encode()), 0
    for part in range(1, PARTS + 1):
        end, whole = size * part // PARTS, part == PARTS
        text = row.completion.encode()[:end].decode(errors="ignore")
        end = len(text.encode())
        yield Row(
            row.prompt, text, row.harmful, StreamTrace(stream_id=f"stream-{number}", start=start, end=end, whole=whole)
        )
        start = end


def record(row: Row, evidence: Evidence, number: int, bundle: Bundle) -> VerdictRecord:
    """The verdict on a text, with what can befall one on its way now and then."""
    evidence = befallen(replace(evidence, profile=PROFILES[number % len(PROFILES)]), number)
    return VerdictRecord(
        verdict_id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        time_unix_ns=BEGUN_NS + number * MINUTE_NS,
        rpc="ScreenStream" if row.stream else "Screen",
        caller=("chat", "mail", "search")[number % 3],
        evidence=evidence,
        decided=decided(decide(evidence, bundle.policy)),
        digests=Digests(bundle=bundle.digest, policy=bundle.policy.digest, build=__version__),
        text=TextTrace(prompt_bytes=len(row.prompt.encode()), completion_bytes=len(row.completion.encode())),
        total_s=0.01,
        stream=row.stream,
    )


def befallen(evidence: Evidence, number: int) -> Evidence:
    """A member that was late, an overload, a caller that asked for more room, a mode."""
    first, *others = evidence.members
    changes: dict[int, dict[str, Any]] = {
        3: {"members": (replace(first, missing=MissingCause.TIMED_OUT, scores={}), *others)},
        11: {"extra_margin": 0.25},
        17: {"conservative": True},
        19: {"certificate": CertificateState.LAPSED},
    }
    if number % 20 == 7:
        return not_asked(tuple(item.member for item in evidence.members), Reason.OVERLOADED, evidence.profile)
    return replace(evidence, **changes.get(number % 20, {}))


def report(number: int, row: Row, verdict: VerdictRecord) -> FeedbackRecord:
    """What a person said of it, later."""
    label = "HARMFUL" if row.harmful else "FINE"
    return FeedbackRecord(
        verdict_id=verdict.verdict_id, time_unix_ns=BEGUN_NS + (1000 + number) * MINUTE_NS, label=label
    )


if __name__ == "__main__":
    main()
