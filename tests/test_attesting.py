"""A baseline from an audit log: which answers count, and when there are too few."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from audit.samples import BEGUN_NS, POLICY, SECOND_NS, verdict, write_log
from decision.samples import HARMFUL, SAFE, evidence, said
from interlock_server.attesting import BASELINE_MIN, Sample, Window, baseline_of, sample
from interlock_server.audit.record import StreamTrace, TextTrace, VerdictRecord
from interlock_server.decision.evidence import MissingCause
from interlock_server.errors import ConfigError

WINDOW = Window(0, 2**63, "ann", 1.0)


def text(prompt: int = 0, completion: int = 0) -> TextTrace:
    return TextTrace(
        prompt_bytes=prompt, completion_bytes=9, prompt_hash=f"p{prompt}", completion_hash=f"c{completion}"
    )


def found(folder: Path, records: list[VerdictRecord], window: Window = WINDOW, bundle: str = "sha256:b") -> Sample:
    write_log(folder, records)
    return sample([folder], window, POLICY, bundle)


def test_the_statistics_are_those_of_the_policy(tmp_path: Path):
    """The margin is that of its usual profile, whatever was asked for at the time."""
    records = [
        verdict(1, evidence=evidence(0.02, 0.03, ood_pvalue=0.5)),
        verdict(2, evidence=evidence(HARMFUL, SAFE, profile="strict", conservative=True)),
    ]
    got = found(tmp_path, records)

    assert {"member:alpha": [0.02, HARMFUL], "member:beta": [0.03, SAFE], "ood_pvalue": [0.5]} == {
        name: values for name, values in got.values.items() if name != "margin"
    }
    assert [True, False] == [margin > 0 for margin in got.values["margin"]]
    assert (2, 1, {"caller-0", "caller-1"}) == (got.counted, got.withheld, got.callers)


def test_a_conversation_counts_once(tmp_path: Path):
    """By its prompt, or by the completion where there is none; without hashes every verdict is one."""
    texts = [text(1, 1), text(1, 2), text(0, 1), text(0, 1), text(0, 2)]
    bare = TextTrace(prompt_bytes=1, completion_bytes=1)
    records = [verdict(n, caller="c", text=one) for n, one in enumerate([*texts, bare, bare], 1)]
    got = found(tmp_path, records)

    assert (5, 2) == (got.counted, got.repeated)


def test_of_a_stream_the_last_verdict_counts(tmp_path: Path):
    """That on the whole, or that on the part at which it was withheld."""
    parts = [("a", 0.02, False), ("a", 0.03, True), ("b", 0.04, False), ("b", 0.05, False)]
    records = [
        verdict(n, evidence=evidence(score, score), stream=StreamTrace(stream_id=name, start=0, end=n, whole=whole))
        for n, (name, score, whole) in enumerate(parts, 1)
    ]

    assert [0.03, 0.05] == found(tmp_path, records).values["member:alpha"]


def test_what_cannot_be_compared_is_left_out(tmp_path: Path):
    """Verdicts by other models, and outages; each is counted by its cause."""
    outage = evidence(SAFE, said("beta", SAFE, missing=MissingCause.TIMED_OUT))
    got = found(tmp_path, [verdict(1), verdict(2, evidence=outage)])

    assert (2, 1, 1) == (got.exchanges, got.counted, got.incomplete)
    assert 2 == sample([tmp_path], WINDOW, POLICY, "sha256:other").of_other_bundles


def test_the_window_has_a_beginning_and_an_end(tmp_path: Path):
    """The end is not in it."""
    window = Window(BEGUN_NS + 2 * SECOND_NS, BEGUN_NS + 4 * SECOND_NS, "ann", 1.0)

    assert 2 == found(tmp_path, [verdict(number) for number in range(1, 7)], window).counted


def test_no_caller_has_more_than_its_share(tmp_path: Path):
    """Of 200 places a twentieth."""
    records = [verdict(number, caller="one") for number in range(1, 31)]
    got = found(tmp_path, records, Window(0, 2**63, "ann", 0.05))

    assert (10, 20) == (got.counted, got.over_share)


def counted(count: int, **values: list[float]) -> Sample:
    given: dict[str, Any] = {"counted": count, "callers": {"c"}, "first_ns": BEGUN_NS, "last_ns": BEGUN_NS + SECOND_NS}
    return Sample(values=values, **given)


def test_a_baseline_needs_enough_conversations():
    """Else it is refused, with what became of the others."""
    with pytest.raises(ConfigError, match=f"{BASELINE_MIN} are needed.*--caller-share"):
        baseline_of(counted(BASELINE_MIN - 1), WINDOW, "b", "p", datetime.now(UTC))


def test_a_statistic_that_few_have_is_not_compared():
    """A gate that was added in the middle of the window, say."""
    sampled = counted(BASELINE_MIN, margin=[float(n) for n in range(BASELINE_MIN)], ood_pvalue=[0.5] * 10)
    got = baseline_of(sampled, WINDOW, "b", "p", datetime.now(UTC))

    assert ["margin"] == list(got.statistics)
    assert ("ann", BASELINE_MIN, 1) == (got.attested_by, got.statistics["margin"].items, got.callers)
