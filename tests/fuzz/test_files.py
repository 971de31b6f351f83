"""Files of operators with something wrong in them: they load as something sound, or are refused in words."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from access.edge import caller
from bundle.samples import MANIFEST, manifest
from decision.samples import evidence
from fakes import certificate_content, policy_content, write_bundle
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.access.callers import SCOPES
from interlock_server.access.file import read_callers
from interlock_server.assurance.certificate import Certificate
from interlock_server.bundle.certificate_file import load_certificate
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.manifest import Manifest
from interlock_server.bundle.policy_file import load_policy
from interlock_server.config import load_config
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.errors import InterlockError
from interlock_server.strict import read_mapping, validate

from .hostile import GROWTH_MAX_MB, damaged, fuzzed, memory_peak_mb

NAMES = ["alpha", "beta", "gamma"]
POLICY = yaml.safe_dump(policy_content(NAMES, limits={"completion_bytes_max": 1000}, latency_budget_ms=100))
CALLERS = yaml.safe_dump(
    {"format": 1, "callers": [caller(quota={"requests_per_second": 5.0}), caller("other", "b", scopes=["admin"])]}
)
CONFIG = "transport: {address: '127.0.0.1:1', in_flight_max: 5}\naccess: {file: callers.yaml}\nlog_level: info\n"


def policy_holds(path: Path) -> None:
    """A policy that loads withholds what nobody has judged."""
    policy = load_policy(path, MANIFEST)
    for nobody in (Evidence(()), evidence()):
        assert not decide(nobody, policy).released


def manifest_holds(path: Path) -> None:
    """A manifest that loads has members, each with categories."""
    loaded = validate(Manifest, read_mapping(path), path.name)
    assert all(member.categories for member in loaded.members)


def certificate_holds(path: Path) -> None:
    """A certificate that loads claims no bound that is none."""
    stated: Certificate = load_certificate(path).to_certificate()
    bounds = [bound for profile in stated.bounds.values() for bound in profile.values()]
    assert all(0 < bound.miss_rate_upper_bound <= 1 for bound in bounds)


def callers_hold(path: Path) -> None:
    """Callers that load have a name and known scopes."""
    for known in read_callers(path).by_name.values():
        assert known.name
        assert known.scopes <= set(SCOPES)


def config_holds(path: Path) -> None:
    """A configuration that loads opens no port to others in plaintext without being told to."""
    transport = load_config(path, {}).transport
    assert transport.insecure or transport.tls or transport.address.startswith("127.")


LOADERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "policy.yaml": (policy_holds, POLICY),
    "manifest.json": (manifest_holds, json.dumps(manifest())),
    "callers.yaml": (callers_hold, CALLERS),
    "interlock.yaml": (config_holds, CONFIG),
}


def load(check: Callable[[Path], None], path: Path, content: bytes) -> bool:
    """Whether it was taken; anything but our own errors is a crash."""
    path.write_bytes(content)
    try:
        check(path)
    except InterlockError:
        return False
    return True


@pytest.mark.parametrize("name", LOADERS)
@fuzzed
@given(data=st.data())
def test_a_damaged_file_is_sound_or_refused(tmp_path: Path, name: str, data: st.DataObject):
    """In words, not in a traceback."""
    check, original = LOADERS[name]
    before_mb = memory_peak_mb()
    load(check, tmp_path / name, data.draw(damaged([original.encode()])))

    assert memory_peak_mb() < before_mb + GROWTH_MAX_MB


@pytest.mark.parametrize("name", LOADERS)
def test_the_files_are_good_before_they_are_damaged(tmp_path: Path, name: str):
    """Otherwise nothing would be tested."""
    check, original = LOADERS[name]

    assert load(check, tmp_path / name, original.encode())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One that holds for some bundle."""
    path = tmp_path_factory.mktemp("bundle")
    write_bundle(path)
    return json.dumps(certificate_content(load_bundle(path))).encode()


@fuzzed
@given(data=st.data())
def test_a_damaged_certificate_is_sound_or_refused(tmp_path: Path, certificate: bytes, data: st.DataObject):
    """It promises nothing that it does not support."""
    load(certificate_holds, tmp_path / "certificate.json", data.draw(damaged([certificate])))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one."""
    path = tmp_path_factory.mktemp("whole")
    write_bundle(path)
    return path


@fuzzed
@given(data=st.data())
def test_a_damaged_bundle_does_not_load(bundle: Path, data: st.DataObject):
    """Whichever file it is, when its digest is pinned."""
    digest = load_bundle(bundle).digest
    path = bundle / data.draw(st.sampled_from(["manifest.json", "policy.yaml", "golden.jsonl", "alpha.json"]))
    original = path.read_bytes()
    content = data.draw(damaged([original]))
    try:
        path.write_bytes(content)
        if content != original:
            with pytest.raises(InterlockError):
                load_bundle(bundle, digest)
    finally:
        path.write_bytes(original)


BOMBS: dict[str, str] = {
    "aliases": "b0: &b0 [x, x]\n" + "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" for i in range(1, 40)),
    "merges": "a: &a {x: 1}\nb: {<<: [*a, *a, *a], y: *a}\n",
    "itself": "a: &a [*a]\n",
    "depth": "a: " + "[" * 20_000,
    "mappings": "{a: " * 10_000,
    "digits": "a: " + "9" * 10_000,
    "base 60": "a: " + ":".join(["59"] * 5_000),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_does_not_go_off(tmp_path: Path, bomb: str):
    """It grows when it is read, or never ends. One reader reads all such files."""
    before_mb = memory_peak_mb()

    assert not load(callers_hold, tmp_path / "callers.yaml", BOMBS[bomb].encode())
    assert not load(manifest_holds, tmp_path / "manifest.json", b'{"a": ' + b"[" * 100_000)
    assert memory_peak_mb() < before_mb + GROWTH_MAX_MB
