"""What certificate.json may say: a claim that its own counts do not support is refused with the field's name."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fakes import certificate_content, certify, claim, reseal, write_bundle
from interlock_server.assurance.bounds import clopper_pearson_upper
from interlock_server.assurance.certificate import Bound
from interlock_server.bundle.certificate_file import CertificateFile, load_certificate
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import Manifest
from interlock_server.errors import BundleError, ConfigError
from interlock_server.strict import validate

from .samples import manifest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Any."""
    path = tmp_path_factory.mktemp("bundle")
    write_bundle(path)
    return load_bundle(path)


def read(bundle: Bundle, **changes: Any) -> CertificateFile:
    """A certificate with changes."""
    return validate(CertificateFile, certificate_content(bundle, issued="2026-05-07") | changes, "certificate.json")


def refused(bundle: Bundle, **changes: Any) -> str:
    """What is said about it."""
    with pytest.raises(ConfigError) as caught:
        read(bundle, **changes)
    return str(caught.value)


def with_claim(*claims: dict[str, Any]) -> dict[str, Any]:
    """Profiles in which these are all."""
    return {"balanced": {"categories": {"illicit": list(claims)}}}


def test_it_expires_in_half_a_year_unless_it_says_otherwise(bundle: Bundle):
    """180 days."""
    assert (date(2026, 11, 3), date(2026, 6, 1)) == (read(bundle).expires, read(bundle, expires="2026-06-01").expires)


def test_what_is_written_is_read_again(bundle: Bundle, tmp_path: Path):
    """Through JSON."""
    written = read(bundle)
    (tmp_path / "certificate.json").write_text(written.model_dump_json(indent=1))

    assert written == load_certificate(tmp_path / "certificate.json")


def test_the_service_gets_the_worst_bound_of_each_category(bundle: Bundle):
    """And none where nothing was certified; the confidence is that of all bounds together."""
    certificate = read(bundle).to_certificate()

    assert certificate.bounds == {
        "balanced": {
            "violence_injury": Bound("violence_injury", "written", 0.04, 170),
            "hate_harassment": Bound("hate_harassment", "public", 0.02, 400),
        }
    }
    assert (0.95, "Rows were read twice. It does not cover adversaries.") == (
        certificate.confidence,
        certificate.statement,
    )


def test_the_best_bound_that_the_counts_allow_is_accepted(bundle: Bundle):
    """With misses that were allowed, and with those of a policy that was fixed before."""
    best = clopper_pearson_upper(3, 170, 0.01)
    claims = claim("a", 170, best, misses_allowed=3, misses=2), claim("b", 170, best, misses_allowed=None, misses=3)

    assert (
        best
        == read(bundle, profiles=with_claim(*claims))
        .to_certificate()
        .bounds["balanced"]["illicit"]
        .miss_rate_upper_bound
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (claim("a", 170, 0.02), "miss_rate_upper_bound: its own counts allow 0.0267"),
        (claim("a", 170, 0.05, misses_allowed=3), "miss_rate_upper_bound: its own counts allow 0.057"),
        (claim("a", 170, 0.05, misses=3, misses_allowed=None), "miss_rate_upper_bound: its own counts allow 0.057"),
        (claim("a", 170, 0.05, misses=1), "misses must not be above clusters, nor above misses_allowed"),
        (claim("a", 2, None, misses=3), "misses must not be above clusters, nor above misses_allowed"),
        (claim("a", 2, 1.0, misses_allowed=3), "misses_allowed must not be above clusters"),
        (claim("a", 170, 0.05, confidence=1.0), "misses_allowed must not be above clusters, and confidence"),
        (claim("a", 170, 0.05, confidence=0.3), "misses_allowed must not be above clusters, and confidence"),
        (claim("a", 170, 0.05, why="because"), "needs either a miss_rate_upper_bound or a why"),
        (claim("a", 170, None, why=""), "needs either a miss_rate_upper_bound or a why"),
        (claim("a", 170, 1.05), ".miss_rate_upper_bound: input should be less than or equal to 1"),
        (claim("", 170, 0.05), ".source: string should match pattern"),
    ],
)
def test_a_claim_beyond_its_data_is_refused(bundle: Bundle, line: dict[str, Any], message: str):
    """The numbers beside a bound say what it can be at best."""
    said = refused(bundle, profiles=with_claim(line))

    assert said.startswith("certificate.json: profiles.balanced.categories.illicit.0")
    assert message in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expires": "2026-05-07"}, "expires must be after issued, by at most 366 days"),
        ({"expires": "2028-01-01"}, "expires must be after issued, by at most 366 days"),
        ({"issued": "yesterday"}, "issued: invalid isoformat string"),
        ({"issued": 1_770_000_000}, "issued: input should be a valid date"),
        ({"delta": 0.001}, "the bounds spend 0.03, of 0.05 for this opening and 0.001 in all"),
        ({"models": "sha256:1"}, "models: string should match pattern"),
        ({"signature": "x"}, "signature: there is no such setting"),
        ({"profiles": with_claim(*[claim("a", 170, 0.05)] * 6)}, "the bounds spend 0.06, of 0.05 for this opening"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused(bundle: Bundle, changes: dict[str, Any], message: str):
    """The message names the field."""
    assert refused(bundle, **changes).startswith(f"certificate.json: {message}")


@pytest.mark.parametrize(("withheld", "accepted"), [(5, True), (0, False), (21, False)])
def test_a_price_lies_within_its_interval(bundle: Bundle, withheld: int, accepted: bool):
    """5 of 20."""
    price = {"source": "a", "n": 20, "withheld": withheld, "low": 0.086, "high": 0.491}
    profiles = {"balanced": {"categories": {}, "price": [price]}}

    if accepted:
        assert 5 == read(bundle, profiles=profiles).profiles["balanced"].price[0].withheld
    else:
        assert "must have its share between low and high" in refused(bundle, profiles=profiles)


def test_a_bundle_brings_its_certificate(tmp_path: Path):
    """Bound to what is in it, and never to itself."""
    write_bundle(tmp_path / "bundle", certified={})
    opened = load_bundle(tmp_path / "bundle")
    assert opened.certificate is not None

    assert (opened.models_digest, opened.policy.digest) == (opened.certificate.models, opened.certificate.policy)


def test_a_bundle_without_one_has_none(bundle: Bundle):
    """It is no part that must be there."""
    assert bundle.certificate is None


def test_a_certificate_beside_the_policy_replaces_that_of_the_bundle(tmp_path: Path):
    """As the policy does."""
    write_bundle(tmp_path / "bundle", certified={})
    content = certificate_content(load_bundle(tmp_path / "bundle"), statement="Another one.")
    (tmp_path / "own.json").write_text(json.dumps(content))
    opened = load_bundle(tmp_path / "bundle", certificate_path=tmp_path / "own.json")

    assert opened.certificate is not None
    assert "Another one." == opened.certificate.statement


def test_one_that_is_not_there_is_not_overlooked(tmp_path: Path):
    """Neither in the bundle nor beside the policy."""
    write_bundle(tmp_path / "bundle", certified={})
    with pytest.raises(ConfigError, match=r"own\.json: cannot be read"):
        load_bundle(tmp_path / "bundle", certificate_path=tmp_path / "own.json")
    (tmp_path / "bundle" / "certificate.json").unlink()
    with pytest.raises(BundleError, match=r"certificate\.json is missing"):
        load_bundle(tmp_path / "bundle")


def test_an_altered_one_is_found(tmp_path: Path):
    """As any file is; and sealing the bundle again does not make a bound better than its data."""
    write_bundle(tmp_path / "bundle", certified={})
    file = tmp_path / "bundle" / "certificate.json"
    file.write_text(file.read_text().replace("0.04", "0.004"))

    with pytest.raises(BundleError, match="altered"):
        load_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="its own counts allow"):
        reseal(tmp_path / "bundle")


def test_a_manifest_states_its_digest():
    """As that of every file that it names."""
    with pytest.raises(ConfigError, match=r"files has no digest for certificate\.json"):
        validate(Manifest, manifest(certificate="certificate.json"), "manifest.json")


def test_one_of_something_else_is_no_mistake(tmp_path: Path):
    """It is loaded, and void."""
    write_bundle(tmp_path / "bundle")
    certify(tmp_path / "bundle", models="sha256:" + "1" * 64)

    assert load_bundle(tmp_path / "bundle").certificate is not None
