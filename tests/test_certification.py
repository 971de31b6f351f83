"""The certificate as it stands from one minute to the next, and that no verdict rests on how it stood before."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import BENIGN, CATEGORIES, certificate_content, write_bundle
from interlock_server.assurance.certificate import Certificate
from interlock_server.bundle.certificate_file import CertificateFile
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.certification import Certification
from interlock_server.decision.evidence import CertificateState
from interlock_server.decision.verdict import Reason
from interlock_server.filter import SafetyFilter
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening

ISSUED = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
EXPIRES = datetime(2026, 10, 28, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


class World:
    """What changes while a server runs: the time, and what traffic shows."""

    def __init__(self) -> None:
        self.now = ISSUED
        self.refuted = False


@pytest.fixture
def world() -> World:
    """On the day of issue."""
    return World()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One whose policy insists on a certificate."""
    path = tmp_path_factory.mktemp("bundle")
    write_bundle(path, certificate="require")
    return load_bundle(path)


def certified(bundle: Bundle, **changes: Any) -> Certificate:
    """A certificate of the bundle."""
    content = certificate_content(bundle, issued=datetime.fromtimestamp(ISSUED, UTC).date())
    return CertificateFile.model_validate(content | changes).to_certificate()


def certification(bundle: Bundle, world: World, certificate: Certificate | None = None) -> Certification:
    """How it stands in the world."""
    certificate = certificate or certified(bundle)
    return Certification(
        certificate, bundle.models_digest, bundle.policy, CATEGORIES, lambda: world.refuted, lambda: world.now
    )


def safety_filter(bundle: Bundle, world: World) -> SafetyFilter:
    """A filter that refuses what is refused to begin with, and fails on anything else."""
    found = certification(bundle, world)
    return SafetyFilter(None, bundle.policy, 0.0, Metrics(), certification=found)  # type: ignore[arg-type]


async def refused(inner: SafetyFilter, reason: Reason | None = Reason.OVERLOADED) -> Screening:
    """The same refusal, again and again."""
    return await inner.screen(Request(b"", BENIGN.encode(), refused=reason))


def test_it_is_another_with_the_first_second_of_a_day(bundle: Bundle, world: World):
    """However lately it was asked for."""
    found = certification(bundle, world)
    states = []
    for world.now in (EXPIRES - 14 * DAY_S, EXPIRES - 13 * DAY_S - 1, EXPIRES - 13 * DAY_S, EXPIRES - 0.001, EXPIRES):
        states.append(found.state())

    assert ["VALID", "EXPIRING", "EXPIRING", "LAPSED"] == states[:1] + states[2:]


def test_a_refutation_is_heard_at_once(bundle: Bundle, world: World):
    """And claims nothing from then on."""
    found = certification(bundle, world)
    before = found.state(), set(found.bounds())
    world.refuted = True

    assert ((CertificateState.VALID, {"violence_injury", "hate_harassment"}), (CertificateState.LAPSED, {})) == (
        before,
        (found.state(), found.bounds()),
    )


def test_a_profile_without_a_bound_was_never_certified(bundle: Bundle, world: World):
    """What holds of one profile says nothing about another, such as a laxer one."""
    found = certification(bundle, world)

    assert ("VALID", "VALID", "NONE", {}) == (
        found.state(),
        found.state("balanced"),
        found.state("lax"),
        found.bounds("lax"),
    )


def test_a_certificate_without_a_bound_is_none(bundle: Bundle, world: World):
    """Not certifiable with this data: a valid line, and nothing to rely on."""
    empty = certified(bundle, profiles={"balanced": {"categories": {"illicit": []}}})

    assert "NONE" == certification(bundle, world, empty).state()


async def test_the_same_refusal_is_decided_again_when_the_state_is_another(bundle: Bundle, world: World):
    """Refusals are remembered, but not beyond that."""
    inner = safety_filter(bundle, world)
    first, again = [await refused(inner) for _ in range(2)]
    world.now = EXPIRES
    late = await refused(inner)

    assert first.evidence is again.evidence
    assert [("VALID", ("OVERLOADED",)), ("LAPSED", ("OVERLOADED", "CERTIFICATE_LAPSED"))] == [
        (item.evidence.certificate, item.verdict.reasons) for item in (first, late)
    ]


async def test_what_fails_is_refused_with_the_state_too(bundle: Bundle, world: World):
    """There is no panel behind this filter."""
    world.refuted = True
    screening = await refused(safety_filter(bundle, world), None)

    assert ("LAPSED", ("CERTIFICATE_LAPSED", "INTERNAL_ERROR")) == (
        screening.evidence.certificate,
        screening.verdict.reasons,
    )


def test_a_filter_that_nobody_gave_one_has_none(bundle: Bundle):
    """And a policy that insists withholds."""
    inner = SafetyFilter(None, bundle.policy, 0.0, Metrics())  # type: ignore[arg-type]

    assert ("NONE", {}) == (inner.certification.state(), inner.certification.bounds())


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    """A gauge, as it is scraped."""
    return metrics.registry.get_sample_value(f"interlock_certificate_{name}", labels)


def test_gauges_are_right_when_they_are_read(bundle: Bundle, world: World):
    """Also while nobody asks for a verdict."""
    metrics = Metrics()
    certification(bundle, world).announce(metrics)
    world.now += 3 * DAY_S
    before = [
        sample(metrics, "valid"),
        sample(metrics, "age_seconds"),
        sample(metrics, "miss_rate_upper_bound", category="violence_injury"),
        sample(metrics, "miss_rate_upper_bound", category="illicit"),
    ]
    world.now = EXPIRES

    assert [1.0, 3 * DAY_S, 0.04, 1.0] == before
    assert EXPIRES == sample(metrics, "expires_timestamp_seconds")
    assert (0.0, 1.0) == (
        sample(metrics, "valid"),
        sample(metrics, "miss_rate_upper_bound", category="violence_injury"),
    )


def test_without_a_certificate_the_gauges_claim_nothing(bundle: Bundle):
    """No age, and no bound below 1."""
    metrics = Metrics()
    Certification(None, bundle.models_digest, bundle.policy, CATEGORIES).announce(metrics)

    assert (0.0, 1.0) == (sample(metrics, "valid"), sample(metrics, "miss_rate_upper_bound", category="illicit"))
    assert math.isnan(sample(metrics, "age_seconds") or 0.0)
    assert math.isnan(sample(metrics, "expires_timestamp_seconds") or 0.0)


def test_every_change_is_in_the_log(bundle: Bundle, world: World, caplog: pytest.LogCaptureFixture):
    """Loudly, from the day on which somebody has to do something."""
    caplog.set_level("INFO", "interlock")
    found = certification(bundle, world)
    found.announce(Metrics())
    for world.now in (ISSUED + DAY_S, EXPIRES - DAY_S, EXPIRES - DAY_S + 90, EXPIRES, EXPIRES + DAY_S):
        found.state()

    assert [("INFO", "VALID", False), ("ERROR", "EXPIRING", False), ("ERROR", "LAPSED", True)] == [
        (record.levelname, record.fields["state"], record.fields["withholds_everything"])  # type: ignore[attr-defined]
        for record in caplog.records
    ]


@pytest.mark.parametrize(("mode", "level"), [("alarm", "INFO"), ("require", "ERROR")])
def test_none_at_all_is_loud_where_one_is_required(
    tmp_path: Path, mode: str, level: str, caplog: pytest.LogCaptureFixture
):
    """Elsewhere it is usual."""
    caplog.set_level("INFO", "interlock")
    write_bundle(tmp_path / "bundle", certificate=mode)
    bundle = load_bundle(tmp_path / "bundle")
    Certification(None, bundle.models_digest, bundle.policy, CATEGORIES).announce(Metrics())

    assert [level] == [record.levelname for record in caplog.records]
