"""From labels in a log to a verdict on the certificate: what counts as evidence against it, and what does not."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from audit.samples import POLICY, feedback, verdict, verdict_id, write_log
from decision.samples import HARMFUL, SAFE, evidence, said
from interlock_server.assurance.certificate import Bound, Certificate
from interlock_server.audit.record import Digests, FeedbackRecord, VerdictRecord
from interlock_server.decision.evidence import MissingCause
from interlock_server.drift_files import RefutationFile
from interlock_server.errors import ConfigError
from interlock_server.refuting import Claim, Labelled, certificate_digest, check, labelled, read_queues

NOW = datetime.now(UTC)
MISSED, CAUGHT = evidence(SAFE, SAFE), evidence(HARMFUL, HARMFUL)
OURS = Digests(bundle="sha256:b", policy=POLICY.digest, build="test")
COUNT = 12


def certificate(bound: float = 0.1) -> Certificate:
    one = Bound("harm", "public", bound, 100)
    return Certificate("m", "p", date(2026, 1, 1), date(2026, 6, 1), 0.95, {"balanced": {"harm": one}})


CLAIM = Claim(certificate(), "sha256:b", POLICY)


def found(count: int = COUNT, label: dict[str, Any] | None = None, **of_verdict: Any) -> Labelled:
    """So many verdicts with a label each: released, and harmful, if nothing else is said."""
    given = {"evidence": MISSED, "digests": OURS, **of_verdict}
    names = [verdict_id(number) for number in range(1, count + 1)]
    labels = {"label": "HARMFUL", "categories": ("harm",), **(label or {})}
    return Labelled(
        {name: verdict(number, **given) for number, name in enumerate(names, 1)},
        {name: feedback(number, **labels) for number, name in enumerate(names, 1)},
    )


def checked(
    labels: Labelled, drawn: dict[str, float] | None = None, known: RefutationFile | None = None, claim: Claim = CLAIM
) -> RefutationFile:
    everything = dict.fromkeys(labels.verdicts, 0.5)
    return check(claim, labels, drawn or everything or {"": 0.5}, known, NOW, 0.05)


def test_misses_refute():
    """A dozen of them, where one in ten was promised."""
    result = checked(found())

    assert ["harm"] == result.refuted
    assert (COUNT, COUNT, 0.1) == (
        result.categories["harm"].harmful, result.categories["harm"].misses, result.categories["harm"].bound,
    )  # fmt: skip


UNFIT: list[dict[str, Any]] = [
    {"evidence": CAUGHT},
    {"label": {"label": "FINE"}},
    {"label": {"categories": ()}},
    {"label": {"categories": ("other",)}},
    {"digests": Digests(bundle="sha256:other", policy=POLICY.digest, build="test")},
    {"digests": Digests(bundle="sha256:b", policy="sha256:other", build="test")},
    {"evidence": evidence(SAFE, SAFE, profile="other")},
    {"evidence": evidence(SAFE, said("beta", SAFE, missing=MissingCause.FAILED))},
]


@pytest.mark.parametrize("change", UNFIT)
def test_what_the_certificate_does_not_speak_of_refutes_nothing(change: dict[str, Any]):
    """Catches, other models, other profiles, an outage, and labels that name no harm of it."""
    assert [] == checked(found(**change)).refuted


def test_what_was_likelier_to_be_drawn_counts_less():
    """Here every miss was sure to be drawn, and anything else had a chance of one in fifty."""
    labels = found()
    drawn = {**dict.fromkeys(labels.verdicts, 1.0), "another": 0.02}

    assert [] == checked(labels, drawn).refuted


def test_what_is_refuted_stays_refuted():
    """For this certificate, and for no other."""
    known = checked(found())

    assert ["harm"] == checked(Labelled(), known=known).refuted
    assert [] == checked(Labelled(), known=known, claim=Claim(certificate(0.2), "sha256:b", POLICY)).refuted
    assert certificate_digest(certificate()) != certificate_digest(certificate(0.2))


def test_verdicts_and_labels_are_found_in_the_logs(tmp_path: Path):
    """Only of what was drawn, and the last label of each."""
    records: list[VerdictRecord | FeedbackRecord] = [
        *(verdict(number) for number in (1, 2, 3)),
        feedback(1, label="HARMFUL"), feedback(3), feedback(1),
    ]  # fmt: skip
    write_log(tmp_path, records)
    got = labelled([tmp_path], {verdict_id(1): 0.5, verdict_id(2): 0.5})

    assert {verdict_id(1), verdict_id(2)} == set(got.verdicts)
    assert {verdict_id(1): "FINE"} == {name: label.label for name, label in got.labels.items()}


def test_a_queue_is_read_as_interlock_mine_writes_it(tmp_path: Path):
    """Several of them make one."""
    (tmp_path / "a").write_text('{"verdict_id": "1", "propensity": 0.5, "completion": "x"}\n')
    (tmp_path / "b").write_text('{"verdict_id": "2", "propensity": 1}\n')

    assert {"1": 0.5, "2": 1.0} == read_queues([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    "content", ["", "marker", '{"verdict_id": "marker"}', '{"verdict_id": "1", "propensity": 0}', '{"propensity": 2}']
)
def test_what_is_no_queue_is_refused(tmp_path: Path, content: str):
    """Without a word of what is in it."""
    (tmp_path / "queue").write_text(content)

    with pytest.raises(ConfigError) as caught:
        read_queues([tmp_path / "queue"])
    assert "marker" not in str(caught.value)
