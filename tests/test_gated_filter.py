"""The gate for the unknown in the service: what it holds back, what it lets through, and that nothing gets around it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import BENIGN
from gated import STRANGE, gate_arrays, write_onnx_bundle
from interlock_server.app import load, running_filter
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.seal import seal
from interlock_server.config import BundleSettings, Config
from interlock_server.decision.verdict import Reason
from interlock_server.errors import BundleError, ConfigError
from interlock_server.inference.settings import InferenceSettings
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening
from interlock_server.streaming import GrowingCompletion

PATIENT_S = 60.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a gate."""
    return write_onnx_bundle(tmp_path_factory.mktemp("gated") / "bundle").path


def config_of(bundle: Path, **inference: int) -> Config:
    settings = InferenceSettings.model_validate({"lanes": 1, **inference})
    return Config(bundle=BundleSettings(path=str(bundle), digest=load_bundle(bundle).digest), inference=settings)


async def screened(bundle: Path, *texts: str, metrics: Metrics | None = None, **inference: int) -> list[Screening]:
    """One after the other, by the same filter."""
    config = config_of(bundle, **inference)
    async with running_filter(config, load(config), metrics or Metrics(), budget_s=PATIENT_S) as safety_filter:
        return [await safety_filter.screen(Request(b"", text.encode())) for text in texts]


def resealed(bundle: Path, copy: Path) -> Path:
    """A copy whose files were changed, sealed with the manifest that it had."""
    content = json.loads((bundle / "manifest.json").read_text())
    seal(copy, {name: value for name, value in content.items() if name not in ("format", "files")})
    return copy


async def test_a_known_text_is_released_and_a_strange_one_is_not(bundle: Path):
    """Nothing else is different: the members are clear about both."""
    known, strange = await screened(bundle, BENIGN, STRANGE)

    assert known.verdict.released
    assert (Reason.OUT_OF_DISTRIBUTION,) == strange.verdict.reasons
    assert 1.0 == known.evidence.ood_pvalue
    assert pytest.approx(0.03) == strange.evidence.ood_pvalue


async def test_a_strange_end_is_found(bundle: Path):
    """Pages of ordinary text before it hide nothing."""
    (screening,) = await screened(bundle, f"{BENIGN} " * 40 + STRANGE)

    assert (Reason.OUT_OF_DISTRIBUTION,) == screening.verdict.reasons


async def test_a_strange_text_stays_strange_in_the_cache(bundle: Path):
    """What is kept is the evidence, all of it."""
    screenings = await screened(bundle, STRANGE, STRANGE, BENIGN, BENIGN, cache_entries_max=8)

    assert [False, False, True, True] == [screening.verdict.released for screening in screenings]
    assert screenings[0].evidence == screenings[1].evidence


async def test_a_strange_stream_is_held_back(bundle: Path):
    """Its parts have p-values of their own."""
    config, metrics = config_of(bundle), Metrics()
    async with running_filter(config, load(config), metrics, budget_s=PATIENT_S) as safety_filter:
        growing = GrowingCompletion(safety_filter, Request(b"", b""), PATIENT_S, metrics)
        growing.add(f"{BENIGN} ".encode() * 20 + STRANGE.encode())
        growing.end()
        while (last := (await growing.progress()).screening) is None:
            pass

    assert (Reason.OUT_OF_DISTRIBUTION,) == last.verdict.reasons
    assert last.released_bytes <= 20 * len(f"{BENIGN} ")


async def test_an_ordinary_stream_is_released(bundle: Path):
    """The twin."""
    config, metrics = config_of(bundle), Metrics()
    async with running_filter(config, load(config), metrics, budget_s=PATIENT_S) as safety_filter:
        growing = GrowingCompletion(safety_filter, Request(b"", b""), PATIENT_S, metrics)
        growing.add(f"{BENIGN} ".encode() * 20)
        growing.end()
        while (last := (await growing.progress()).screening) is None:
            pass

    assert last.verdict.released


async def test_pvalues_are_counted(bundle: Path):
    """Of verdicts that have one."""
    metrics = Metrics()
    await screened(bundle, BENIGN, STRANGE, "", metrics=metrics)

    assert 2.0 == metrics.registry.get_sample_value("interlock_ood_pvalue_count")


async def test_a_far_text_is_held_back_by_its_distance(tmp_path: Path):
    """What the encoder has never seen the like of."""
    near = {"letters_0": np.full(99, 1e9), "distance_0": np.full(99, 0.5)}
    path = write_onnx_bundle(tmp_path / "bundle", **near).path
    (screening,) = await screened(path, BENIGN)

    assert (Reason.OUT_OF_DISTRIBUTION,) == screening.verdict.reasons


async def test_hidden_states_that_are_none_hold_everything_back(tmp_path: Path):
    """The golden exchanges would tell at once: such a bundle does not load."""
    path = write_onnx_bundle(tmp_path / "bundle").path
    np.savez(path / "gate.npz", **{**gate_arrays(), "prototypes": np.full((10, 4), np.nan)})
    with pytest.raises(BundleError, match=r"^the gate: does not say of golden exchange 1"):
        await screened(resealed(path, path), BENIGN)


async def test_another_gate_is_noticed(bundle: Path, tmp_path: Path):
    """Also when whoever changed it sealed the bundle anew."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    np.savez(copy / "gate.npz", **{**gate_arrays(), "words_0": np.zeros(99)})
    with pytest.raises(BundleError, match=r"^the gate: does not say of golden exchange 1"):
        await screened(resealed(bundle, copy), BENIGN)


async def test_golden_exchanges_without_a_pvalue_are_refused(bundle: Path, tmp_path: Path):
    """A gate that nobody checks may be any gate."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    rows = [json.loads(line) | {"ood_pvalue": None} for line in (bundle / "golden.jsonl").read_text().splitlines()]
    (copy / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BundleError, match=r"^the gate: does not say of golden exchange 1"):
        await screened(resealed(bundle, copy), BENIGN)


def test_an_alpha_without_a_gate_is_refused(tmp_path: Path):
    """It would withhold everything."""
    path = write_onnx_bundle(tmp_path / "bundle", gated=False).path
    text = (path / "policy.yaml").read_text()
    (path / "policy.yaml").write_text(text.replace("ood_alpha: null", "ood_alpha: 0.05"))
    with pytest.raises(
        ConfigError, match=r"^profiles\.balanced\.ood_alpha: no member that the policy requires has a gate"
    ):
        resealed(path, path)


@pytest.mark.parametrize("backend", ["scripted", "linear", "pytorch"])
def test_a_gate_is_for_members_on_onnx(tmp_path: Path, bundle: Path, backend: str):
    """Others have no hidden states to look at."""
    content = json.loads((bundle / "manifest.json").read_text())
    content["members"][0]["backend"] = backend
    shutil.copytree(bundle, tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"files\.gate is for onnx on the cpu|files must name"):
        seal(tmp_path / "copy", {name: value for name, value in content.items() if name not in ("format", "files")})


def test_two_gates_are_refused(tmp_path: Path, bundle: Path):
    """A text has one p-value."""
    content = json.loads((bundle / "manifest.json").read_text())
    content["members"].append({**content["members"][0], "name": "second"})
    shutil.copytree(bundle, tmp_path / "copy")
    with pytest.raises(ConfigError, match="only one member may have a gate"):
        seal(tmp_path / "copy", {name: value for name, value in content.items() if name not in ("format", "files")})


def test_the_gate_is_part_of_the_member(tmp_path: Path, bundle: Path):
    """What is said of the models lapses with another gate."""
    other = write_onnx_bundle(tmp_path / "bundle", words_0=np.full(99, 1e8))

    assert load_bundle(bundle).models_digest != other.models_digest
