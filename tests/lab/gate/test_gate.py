"""Fitting the gate: groups, letters, rows, and a small bundle from end to end."""

import hashlib
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gated import DATA, write_onnx_bundle
from interlock_lab.gate.command import ALPHAS, _alphas, fitted
from interlock_lab.gate.figures import SUITES, GateFigures, Share, is_held, read_suites
from interlock_lab.gate.fit import calibration_rows, reference_rows
from interlock_lab.gate.layer import look_at_layer
from interlock_lab.gate.letters import letter_surprise, mean_surprise
from interlock_lab.gate.ranks import GROUP_MIN, ranks
from interlock_lab.gate.section import section
from interlock_lab.training.rows import BENIGN as NO_HARM
from interlock_lab.training.rows import Row
from interlock_server.app import load_gate
from interlock_server.backends.onnx import load_session, session_options
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError
from interlock_server.text.gibberish import LETTER_CLASSES

WORDS = [
    "the",
    "tea",
    "cup",
    "she",
    "he",
    "and",
    "sat",
    "down",
    "in",
    "a",
    "house",
    "by",
    "river",
    "with",
    "her",
    "old",
]


def row(number: int, split: str, completion: str = "", **changes: str) -> Row:
    given = {"source": "written/test", "cluster": f"cluster-{number}", **changes}
    said = completion or " ".join(random.Random(number).choices(WORDS, k=12))
    return Row(id=f"{split}-{number}", completion=said, labels=NO_HARM, label_source="test", split=split, **given)


def test_groups_that_are_too_small_join_their_neighbours():
    """Before them; the first one, after it."""
    sizes = [1] * GROUP_MIN + [2] * (GROUP_MIN - 1) + [3] * GROUP_MIN + [5]
    found = ranks([float(size) for size in sizes], sizes, (0, 1, 2, 3, 5))

    assert (0, 3) == found.sizes
    assert [2 * GROUP_MIN - 1, GROUP_MIN + 1] == list(map(len, found.groups))


def test_letters_that_follow_each_other_surprise_less():
    """And none is impossible, or the sum of all would not be one."""
    surprise = letter_surprise(["the tea " * 50])
    place = {ch: number for number, ch in enumerate(LETTER_CLASSES)}

    assert surprise[place["t"], place["h"], place["e"]] < 1 < surprise[place["t"], place["h"], place["q"]]
    assert np.allclose(1, np.exp(-surprise).sum(-1))
    assert mean_surprise(["the tea"], surprise) < mean_surprise(["qzx vkj"], surprise)


def test_a_cluster_counts_once_among_short_texts():
    """Rows of one cluster are not independent; of long ones there are too few."""
    short = [row(1, "shape", id_, cluster="same") for id_ in ("one", "two", "three")]
    long = [row(2, "shape", letter * 2_000, cluster="same") for letter in "ab"]

    assert [1, 2] == [len(calibration_rows(short)), len(calibration_rows(long))]


@pytest.mark.parametrize("split", ["fit", "certify", "unlabelled"])
def test_what_was_taught_or_certifies_does_not_calibrate(split: str):
    """Nor what a teacher was asked about."""
    assert [] == calibration_rows([row(1, split)])
    assert [] == calibration_rows([row(1, split, "x" * 2_000)])


@pytest.mark.parametrize("split", ["shape", "certify", "benign_check", "unlabelled"])
def test_only_what_was_taught_is_compared_with(split: str):
    """The tricked variants are not."""
    assert [] == reference_rows([row(1, split), row(2, "fit", source="tricked")])


def test_the_suites_are_those_that_were_fixed():
    """Before anything was computed of them; whoever changes one measures anew and says so."""
    readme = (SUITES["near"].parent / "README.md").read_text()

    assert all(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in readme for path in SUITES.values())


def test_the_suites_are_large_enough():
    """40 texts or more of each sort, of 100 to 800 bytes."""
    sizes = [len(text.completion.encode()) for text in read_suites()]

    assert all(100 <= size <= 800 for size in sizes)
    assert all(len(path.read_text().splitlines()) >= 40 for path in SUITES.values())


@pytest.mark.parametrize(
    ("pvalue", "held"), [(None, True), (0.01, True), (0.0105, True), (0.0106, False), (1.0, False)]
)
def test_held_is_what_decide_holds(pvalue: float | None, held: bool):
    """The tolerance counts as in every margin."""
    assert held == is_held(pvalue, 0.01, 0.05)


def test_alphas_are_read():
    """As they stand in the command."""
    assert {"permissive": 0.01, "balanced": 0.01, "cautious": 0.02, "strict": 0.05} == _alphas(ALPHAS)
    with pytest.raises(ConfigError, match="--alpha"):
        _alphas("balanced")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GateFigures]:
    """A bundle without a gate, and what became of it."""
    folder = tmp_path_factory.mktemp("gate")
    bundle = write_onnx_bundle(folder / "bundle", gated=False).path
    rows = [row(number, "fit") for number in range(60)] + [row(number, "shape") for number in range(1_000, 1_400)]
    return folder / "out", fitted(bundle, folder / "out", rows, "alpha", 0, {"balanced": 0.05})


def test_a_fitted_gate_loads_and_is_named(made: tuple[Path, GateFigures]):
    """With the alpha that was asked for, and a p-value of every golden exchange."""
    bundle = load_bundle(made[0])

    assert "gate.npz" == bundle.manifest.members[0].files["gate"]
    assert 0.05 == bundle.policy.profiles["balanced"].ood_alpha
    assert all(row.ood_pvalue for row in bundle.golden)
    assert (made[0] / "gate.npz").stat().st_size < 1_000_000


def test_calibration_counts_every_text(made: tuple[Path, GateFigures]):
    """All checks of all rows."""
    gate = load_gate(load_bundle(made[0]))

    assert gate is not None
    assert {400} == {sum(map(len, ranks.groups)) for ranks in gate.ranks.values()}
    assert {400} == {sum(sizes.values()) for sizes in made[1].calibration.values()}


def test_random_letters_are_held_back_and_known_texts_are_not(made: tuple[Path, GateFigures]):
    """What the figures say is what was measured."""
    figures = made[1]
    letters, known = figures.suites["balanced"]["letters"], figures.known_spread["balanced"]

    assert letters.gated.hits > 0.8 * letters.gated.of > 0
    assert known.least <= known.mean < 0.06
    assert {text.suite for text in read_suites()} == set(figures.suites["balanced"])


def test_the_section_says_what_falls_short_first(made: tuple[Path, GateFigures]):
    """A reader who stops after a paragraph has read the worst of it."""
    figures = made[1]
    suites = {"balanced": {**figures.suites["balanced"]}}
    weak = suites["balanced"]["poetry"]
    suites["balanced"]["poetry"] = type(weak)(weak.texts, 0, 0, Share(1, 16))
    text = section(replace(figures, suites=suites))

    assert "poetry" in text.split("\n\n")[1]
    assert "1 of 16, 6.2% (0.2% to 30.2%)" in text
    assert json.loads(figures.to_json())["suites"]["balanced"]["poetry"]["texts"] == weak.texts


def test_a_member_that_is_not_there_is_refused(tmp_path: Path):
    """And nothing is written."""
    bundle = write_onnx_bundle(tmp_path / "bundle", gated=False).path
    with pytest.raises(ConfigError, match="--member: the bundle has no member 'gamma'"):
        fitted(bundle, tmp_path / "out", [], "gamma", 0, {"balanced": 0.05})

    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The encoder that ships, with the output of its last layer and with that of its second."""
    copies = tuple(tmp_path_factory.mktemp("encoder") / name for name in ("last.onnx", "second.onnx"))
    for copy, layer in zip(copies, (6, 2), strict=True):
        shutil.copy(DEFAULT_BUNDLE / "encoder.onnx", copy)
        look_at_layer(copy, layer)
    return copies[0], copies[1]


def outputs(model: Path, *names: str) -> list[Any]:
    """Of one short window."""
    ids = np.array([[101, 2016, 8542, 2048, 10268, 1997, 5572, 102]])
    session = load_session(model, session_options(), ["CPUExecutionProvider"], "encoder")
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    found: list[Any] = session.run(list(names), feed)
    return found


def test_another_layer_gives_the_same_scores(encoders: tuple[Path, Path]):
    """Only what the gate looks at is another."""
    (before, last), (after, early) = (outputs(model, "logits", "hidden") for model in encoders)

    assert before.tolist() == after.tolist()
    assert last.shape == early.shape
    assert not np.allclose(last, early, atol=0.1)


def test_the_layer_is_the_one_that_was_named(encoders: tuple[Path, Path]):
    """The mean over all tokens after its second normalisation."""
    model = onnx.load(str(encoders[1]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("layer_norm_4", onnx.TensorProto.FLOAT, None))
    onnx.save(model, str(encoders[1].with_name("with_states.onnx")))
    states, hidden = outputs(encoders[1].with_name("with_states.onnx"), "layer_norm_4", "hidden")

    assert np.allclose(states[0].mean(0), hidden[0], atol=1e-5)


@pytest.mark.parametrize("layer", [-1, 0, 7])
def test_a_layer_that_is_not_there_is_refused(encoders: tuple[Path, Path], layer: int):
    """Rather than some other one."""
    with pytest.raises(ConfigError, match="is no encoder whose layer"):
        look_at_layer(encoders[0], layer)


def test_another_graph_is_refused(tmp_path: Path):
    """A sum of embeddings has no layers."""
    shutil.copy(DATA / "hidden.onnx", tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"^model\.onnx: is no encoder whose layer 1"):
        look_at_layer(tmp_path / "model.onnx", 1)
