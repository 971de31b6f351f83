"""`interlock certify` from labelled texts to a bundle that carries its certificate."""

import json
from pathlib import Path

import pytest
import yaml
from interlock_lab.certify.ledger import read_ledger
from interlock_lab.certify.report import markdown
from interlock_server.assurance.certificate import state
from interlock_server.bundle.certificate_file import CertificateFile, load_certificate
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.policy_file import load_policy
from interlock_server.decision.evidence import CertificateState

from .samples import make_bundle, run, write_set

ASKED = ("--alpha", "violence_injury=0.2")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was written."""
    folder = tmp_path_factory.mktemp("certify")
    make_bundle(folder / "bundle")
    write_set(folder / "set.jsonl", range(13, 73))
    result = run(folder, *ASKED, "--seal", folder / "sealed", "--report", folder / "report")
    assert 0 == result.exit_code, result.output + repr(result.exception)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle and a set."""
    make_bundle(tmp_path / "bundle")
    write_set(tmp_path / "set.jsonl", range(13, 73))
    return tmp_path


def claimed(folder: Path) -> tuple[CertificateFile, Bundle]:
    """The certificate beside the policy, and the bundle as it was."""
    return load_certificate(folder / "out" / "certificate.json"), load_bundle(folder / "bundle")


def dial(folder: Path) -> float:
    """The dial of the category that was asked about, in the policy that was written."""
    policy = yaml.safe_load((folder / "out" / "policy.yaml").read_text())
    return float(policy["profiles"]["balanced"]["categories"]["violence_injury"]["release_below"])


def rewritten(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_policy_carries_the_dial(certified: Path):
    """All of them are turned together."""
    _, bundle = claimed(certified)
    rules = load_policy(certified / "out" / "policy.yaml", bundle.manifest).profiles["balanced"].categories

    assert rules["violence_injury"].release_below < 2.0
    assert rules["illicit"].release_below == rules["violence_injury"].release_below


def test_the_certificate_is_of_these_models_and_this_policy(certified: Path):
    """By digest, with n, misses and bound."""
    certificate, bundle = claimed(certified)
    policy = load_policy(certified / "out" / "policy.yaml", bundle.manifest)
    (claim,) = certificate.profiles["balanced"].categories["violence_injury"]

    assert (bundle.models_digest, policy.digest) == (certificate.models, certificate.policy)
    assert (60, 0.2, True) == (claim.clusters, claim.alpha, claim.misses <= (claim.misses_allowed or 0))
    assert claim.miss_rate_upper_bound is not None
    assert claim.miss_rate_upper_bound <= 0.2


def test_the_sealed_bundle_holds_both(certified: Path):
    """And its certificate is valid there."""
    bundle = load_bundle(certified / "sealed")
    certificate = load_certificate(certified / "sealed" / "certificate.json").to_certificate()
    today = certificate.issued

    assert CertificateState.VALID == state(certificate, bundle.models_digest, bundle.policy.digest, today)


def test_the_price_is_told(certified: Path):
    """Of the benign units that were read."""
    (price,) = claimed(certified)[0].profiles["balanced"].price

    assert ("written, read", 40, 0) == (price.source, price.n, price.withheld)


def test_the_ledger_was_written(certified: Path):
    """With what was asked."""
    (entry,) = read_ledger(certified / "ledger.jsonl")

    assert {"balanced": {"violence_injury": 0.2}} == entry.commitment.targets
    assert claimed(certified)[0].certify_set.delta_spent == 0.025


def test_the_report_needs_nothing_else(certified: Path):
    """One page with its plots, and the figures as data."""
    page = (certified / "report" / "report.html").read_text()
    figures = json.loads((certified / "report" / "figures.json").read_text())

    assert 'src="data:image/png' in page
    assert "http" not in page
    assert "### Bounds on the miss rate" in markdown(figures)


def test_no_text_is_in_what_is_written(certified: Path):
    """Units are told by their numbers."""
    written = [p.read_text() for d in ("out", "report") for p in (certified / d).iterdir() if p.suffix != ".png"]

    assert not [text for text in [*written, (certified / "ledger.jsonl").read_text()] if "amber anchor" in text]


def test_the_same_again_is_the_same_opening(certified: Path):
    """The report can be made anew at no cost."""
    assert 0 == run(certified, *ASKED).exit_code
    assert 1 == len(read_ledger(certified / "ledger.jsonl"))


def test_too_few_units_are_refused_before_anything_is_spent(folder: Path):
    """With the number that is missing; the set stays closed."""
    result = run(folder, "--alpha", "violence_injury=0.01")

    assert "violence_injury, source written, profile balanced: 60 clusters are too few" in str(result.exception)
    assert "308 more are needed" in str(result.exception)
    assert not (folder / "ledger.jsonl").exists()


def test_what_cannot_be_certified_can_be_said_instead(folder: Path):
    """In so many words, in certificate and on screen; its dial stays."""
    result = run(folder, "--alpha", "violence_injury=0.01", "--allow-uncertified")
    (claim,) = claimed(folder)[0].profiles["balanced"].categories["violence_injury"]

    assert "not certifiable with this data: 308 more clusters are needed" in result.output
    assert claim.miss_rate_upper_bound is None
    assert 2.0 == dial(folder)


def test_swapped_labels_are_refused(folder: Path):
    """And no policy is written; the opening is spent all the same."""
    write_set(folder / "set.jsonl", range(30, 70), benign=60, swapped=True)
    result = run(folder, *ASKED)

    assert "labels look swapped" in str(result.exception)
    assert not (folder / "out" / "policy.yaml").exists()
    assert 1 == len(read_ledger(folder / "ledger.jsonl"))


def test_a_second_target_is_a_second_opening(folder: Path):
    """Which has less to spend."""
    assert 0 == run(folder, *ASKED).exit_code
    assert 0 == run(folder, "--alpha", "violence_injury=0.3").exit_code
    assert 0.05 / 6 == pytest.approx(claimed(folder)[0].certify_set.delta_spent)


def test_a_fixed_policy_is_bounded_as_it_is(folder: Path):
    """No dial moves."""
    result = run(folder, "--fixed", "balanced")
    certificate, bundle = claimed(folder)
    (claim,) = certificate.profiles["balanced"].categories["violence_injury"]

    assert 0 == result.exit_code
    assert bundle.policy.digest == certificate.policy
    assert (None, True) == (claim.alpha, (claim.miss_rate_upper_bound or 0) > claim.misses / 60)


def test_a_policy_of_ones_own_can_be_certified(folder: Path):
    """Instead of the bundle's."""
    own = yaml.safe_load((folder / "bundle" / "policy.yaml").read_text()) | {"name": "mine"}
    (folder / "mine.yaml").write_text(yaml.safe_dump(own))

    assert 0 == run(folder, *ASKED, "--policy", folder / "mine.yaml").exit_code
    assert "mine" == yaml.safe_load((folder / "out" / "policy.yaml").read_text())["name"]


def test_profiles_that_share_their_rules_in_yaml_keep_their_own_dials(folder: Path):
    """An alias in the file is no reason to turn the dials of a profile that nobody asked about."""
    own = yaml.safe_load((folder / "bundle" / "policy.yaml").read_text())
    own["profiles"]["other"] = own["profiles"]["balanced"]
    (folder / "mine.yaml").write_text(yaml.safe_dump(own))
    run(folder, *ASKED, "--policy", folder / "mine.yaml")
    written = yaml.safe_load((folder / "out" / "policy.yaml").read_text())

    assert 2.0 == written["profiles"]["other"]["categories"]["illicit"]["release_below"] > dial(folder)


def test_a_certificate_that_is_required_does_not_certify_itself(folder: Path):
    """Without one everything is withheld, which would be no catch."""
    make_bundle(folder / "bundle", certificate="require")
    run(folder, *ASKED)
    (price,) = claimed(folder)[0].profiles["balanced"].price

    assert 0 == price.withheld


def test_one_threshold_more_voids_it(certified: Path):
    """The certificate is of the dials that were found."""
    certificate, bundle = claimed(certified)
    own = certified / "loosened.yaml"
    own.write_text((certified / "out" / "policy.yaml").read_text())
    rewritten(own, "harmful_at: 5.0", "harmful_at: 5.1")
    digest = load_policy(own, bundle.manifest).digest

    assert CertificateState.VOID == state(
        certificate.to_certificate(), bundle.models_digest, digest, certificate.issued
    )
