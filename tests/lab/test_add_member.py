"""Bringing one's own model: what is imported, what is refused, and that the server then runs it. No text is in any message."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import CATEGORIES, write_bundle
from interlock_lab.add_member import add_member
from interlock_server.app import load_members
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.errors import BundleError, ConfigError
from interlock_server.inference.golden import check_golden, score_exchange
from interlock_server.text.exchange import Exchange
from typer import Typer
from typer.testing import CliRunner, Result

from .checkpoints import BINARY, BOTH, rows, save_checkpoint, save_onnx, write_rows

DECLARED = ("violent=violence_injury", "hateful=hate_harassment")
NAMES = {"labels": ["violent", "hateful"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, labelled examples and one checkpoint in each format; not to be changed."""
    path = tmp_path_factory.mktemp("add_member")
    write_bundle(path / "bundle")
    write_rows(
        path / "examples.jsonl",
        rows(24, "stabbed", "violence_injury"),
        rows(24, "vermin", "hate_harassment"),
        rows(30),
    )
    save_checkpoint(path / "safetensors", BOTH, **NAMES)
    save_onnx(path / "onnx", BOTH, **NAMES)
    return path


def run(folder: Path, source: Path, out: Path, *labels: str, **options: Any) -> Result:
    """The command as a user calls it, with a new bundle as its result."""
    app = Typer()
    app.command()(add_member)
    named = {"bundle": folder / "bundle", "name": "added", "examples": folder / "examples.jsonl", "out": out, **options}
    arguments = [str(part) for key, value in named.items() for part in (f"--{key.replace('_', '-')}", value)]
    return CliRunner().invoke(
        app, [str(source), *arguments, *(part for label in labels for part in ("--label", label))]
    )


def refusal(result: Result, kind: type[Exception] = ConfigError) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def added(out: Path) -> dict[str, float]:
    """What the new member says of a violent text."""
    return scores(load_bundle(out), "She poured tea. He stabbed the letter.")


def scores(bundle: Bundle, completion: str) -> dict[str, float]:
    member = next(member for member in load_members(bundle) if member.name == "added")
    return dict(score_exchange(member, Exchange("", completion)).evidence.scores)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_a_published_folder_becomes_a_member(folder: Path, tmp_path: Path, form: str) -> None:
    """Its labels are categories, and it scores as its publisher's code would."""
    result = run(folder, folder / form, tmp_path / "out", *DECLARED)

    assert 0 == result.exit_code, result.exception
    assert "violence_injury: AUROC 1.00 (1.00 to 1.00) over 24 harmful and 30 benign examples" in result.output
    assert {"violence_injury": 0.98, "hate_harassment": 0.19} == pytest.approx(added(tmp_path / "out"), abs=0.01)


def test_the_new_member_is_a_shadow_and_sealed(folder: Path, tmp_path: Path) -> None:
    """It decides nothing; its golden scores are its own, and the old bundle is as it was."""
    before = load_bundle(folder / "bundle").digest
    result = run(folder, folder / "onnx", tmp_path / "out", *DECLARED)
    bundle = load_bundle(tmp_path / "out")
    member, manifest = load_members(bundle)[-1], bundle.manifest.members[-1]

    assert ("added",) == bundle.policy.shadow
    assert "added" == member.name == manifest.name
    check_golden(member, manifest, bundle.golden)
    assert before == load_bundle(folder / "bundle").digest
    assert bundle.digest in result.output


def test_windows_fit_the_model(folder: Path, tmp_path: Path) -> None:
    """32 positions are what config.json allows; a longer text is read in pieces, none of it cut by the tokenizer."""
    run(folder, folder / "onnx", tmp_path / "out", *DECLARED)
    bundle = load_bundle(tmp_path / "out")

    assert 32 == bundle.manifest.members[-1].reads.tokens_max
    assert 0.9 < scores(bundle, "tea " * 100 + "stabbed")["violence_injury"]


def test_a_bare_onnx_file_is_imported(folder: Path, tmp_path: Path) -> None:
    """Labels are numbers then, and what nothing says is asked for."""
    bare = tmp_path / "bare.onnx"
    bare.write_bytes((folder / "onnx" / "onnx" / "model.onnx").read_bytes())
    options: dict[str, Any] = {"tokenizer": folder / "onnx" / "tokenizer.json", "activation": "sigmoid"}
    declared = ("0=violence_injury", "1=hate_harassment")

    assert "--tokens-max" in refusal(run(folder, bare, tmp_path / "out", *declared, **options))
    assert 0 == run(folder, bare, tmp_path / "out", *declared, tokens_max=32, **options).exit_code
    assert 0.9 < added(tmp_path / "out")["violence_injury"]


def test_softmax_adds_up_and_a_file_declares(folder: Path, tmp_path: Path) -> None:
    """Of three exclusive labels two mean one category: P(either) = 1 - P(safe)."""
    save_onnx(
        tmp_path / "model", ((1, 0), (0, 1), (-1, -1)), labels=["violent", "hateful", "OK"],
        problem_type="single_label_classification",
    )  # fmt: skip
    (tmp_path / "labels.yaml").write_text("violent: hate_harassment\nhateful: [hate_harassment]\nOK: safe\n")
    result = run(
        folder, tmp_path / "model", tmp_path / "out", labels=tmp_path / "labels.yaml", examples=hateful(tmp_path)
    )

    assert 0 == result.exit_code, result.exception
    assert {"hate_harassment": pytest.approx(0.99, abs=0.01)} == added(tmp_path / "out")


def hateful(tmp_path: Path) -> Path:
    """Examples of hate only, with words of both sorts."""
    both = (rows(12, "vermin", "hate_harassment"), rows(12, "stabbed", "hate_harassment"))
    return write_rows(tmp_path / "hateful.jsonl", *both, rows(30))


def test_a_binary_head_may_mean_two_categories(folder: Path, tmp_path: Path) -> None:
    """Both get its score."""
    save_onnx(tmp_path / "model", BINARY, labels=["ok", "toxic"], problem_type="single_label_classification")
    result = run(folder, tmp_path / "model", tmp_path / "out", "ok=safe", "toxic=violence_injury,hate_harassment")

    assert 0 == result.exit_code, result.exception
    found = added(tmp_path / "out")
    assert 0.9 < found["violence_injury"] == found["hate_harassment"]


def test_swapped_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    """A model whose harm was declared safe would release just what it should withhold."""
    save_onnx(tmp_path / "model", BINARY, labels=["ok", "toxic"], problem_type="single_label_classification")
    message = refusal(
        run(folder, tmp_path / "model", tmp_path / "out", "toxic=safe", "ok=violence_injury"), BundleError
    )

    assert message.startswith(
        "member added: violence_injury: ranks benign above harmful: safe and unsafe labels look swapped"
    )
    assert re.search(r"AUROC 0\.0\d \(.*\) over 24 harmful and 30 benign examples", message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", [((0, 0), (0, 0)), ((0, 1), (1, 0))])
def test_a_head_that_knows_nothing_is_refused(folder: Path, tmp_path: Path, weights: Any) -> None:
    """Noise, and labels that mean something else: every such category is named."""
    save_onnx(tmp_path / "model", weights, **NAMES)
    message = refusal(run(folder, tmp_path / "model", tmp_path / "out", *DECLARED), BundleError)

    assert 2 == message.count("over 24 harmful and 30 benign examples")
    assert "stabbed" not in message


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["violent=violence_injury"], "say what hateful means"),
        ([], "say what violent, hateful means"),
        ([*DECLARED, "rude=safe"], "the model has no label 'rude'; it has violent, hateful"),
        ([*DECLARED, "0=illicit"], "declared by its name and by its number"),
        (["violent=violence", "hateful=safe"], f"no category violence; it has {', '.join(CATEGORIES)}"),
        (["violent=safe", "hateful="], "no label means a category"),
        (["violent", "hateful=safe"], "'violent' is not LABEL=CATEGORY"),
        (["violent=safe,illicit", "hateful=safe"], "neither safe nor a list"),
    ],
)  # fmt: skip
def test_labels_are_declared_in_full(folder: Path, tmp_path: Path, labels: list[str], message: str) -> None:
    """A label left open or misspelt is an error that names it."""
    assert message in refusal(run(folder, folder / "onnx", tmp_path / "out", *labels))


def test_softmax_needs_something_safe(folder: Path, tmp_path: Path) -> None:
    """When every label is harm, harm is certain."""
    result = run(folder, folder / "onnx", tmp_path / "out", "0=illicit", "1=illicit", activation="softmax")

    assert "every label means illicit" in refusal(result)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "tf_model.h5"])
def test_files_that_can_carry_code_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """With what to do instead, and without opening them."""
    source = tmp_path / "model"
    source.mkdir()
    (source / name).write_bytes(b"not even a pickle")

    for given in (source, source / name):
        message = refusal(run(folder, given, tmp_path / "out", *DECLARED))
        assert name in message
        assert "safetensors or ONNX" in message


def test_labels_without_names_have_numbers(folder: Path, tmp_path: Path) -> None:
    """transformers saves a config.json without id2label when there are two of them."""
    save_onnx(tmp_path / "model", BOTH)
    assert "id2label" not in json.loads((tmp_path / "model" / "config.json").read_text())
    declared = ("LABEL_0=violence_injury", "1=hate_harassment")

    assert 0 == run(folder, tmp_path / "model", tmp_path / "out", *declared).exit_code


def test_a_label_too_many_is_refused(folder: Path, tmp_path: Path) -> None:
    """config.json and the model must agree."""
    save_onnx(tmp_path / "model", BOTH, labels=["violent", "hateful"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["id2label"]["2"] = "rude"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))

    message = refusal(run(folder, tmp_path / "model", tmp_path / "out", *DECLARED, "rude=safe"))
    assert "has 3 labels, but the model scores 2" in message


def test_a_checkpoint_without_a_head_is_refused(folder: Path, tmp_path: Path) -> None:
    """Its head would be noise."""
    source = save_checkpoint(tmp_path / "model", BOTH, **NAMES)
    without_head(source / "model.safetensors")

    assert "has no weights for classifier.bias" in refusal(run(folder, source, tmp_path / "out", *DECLARED))


def without_head(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("classifier")}
    save_file(state, path, metadata={"format": "pt"})


def test_too_few_examples_are_refused(folder: Path, tmp_path: Path) -> None:
    """With the category and how many there are."""
    few = write_rows(tmp_path / "few.jsonl", rows(19, "stabbed", "violence_injury"), rows(30))
    message = refusal(run(folder, folder / "onnx", tmp_path / "out", *DECLARED, examples=few))

    assert "few.jsonl: violence_injury has 19 harmful and 30 benign examples; 20 of each are needed" in message
    assert "hate_harassment has 0 harmful" in message


def test_a_model_of_the_wrong_length_is_refused(folder: Path, tmp_path: Path) -> None:
    """Long texts would fail in service, each of them withheld."""
    config = json.loads((folder / "onnx" / "config.json").read_text())
    source = tmp_path / "model"
    (source / "onnx").mkdir(parents=True)
    for name in ("tokenizer.json", "onnx/model.onnx"):
        (source / name).write_bytes((folder / "onnx" / name).read_bytes())
    (source / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))

    message = refusal(run(folder, source, tmp_path / "out", *DECLARED), BundleError)
    assert "gives no complete evidence on a text of more than 64 tokens: FAILED" in message


def test_a_name_that_is_taken_is_refused(folder: Path, tmp_path: Path) -> None:
    """Nothing of the bundle is overwritten."""
    assert "--name" in refusal(run(folder, folder / "onnx", tmp_path / "out", *DECLARED, name="alpha"))
    assert "--name" in refusal(run(folder, folder / "onnx", tmp_path / "out", *DECLARED, name="../alpha"))


def test_an_existing_folder_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    """Only the bundle itself may be replaced, and nothing is left beside it."""
    (tmp_path / "out").mkdir()

    assert "exists" in refusal(run(folder, folder / "onnx", tmp_path / "out", *DECLARED))
    write_bundle(tmp_path / "mine")
    assert 0 == run(folder, folder / "onnx", tmp_path / "mine", *DECLARED, bundle=tmp_path / "mine").exit_code
    assert ("added",) == load_bundle(tmp_path / "mine").policy.shadow
    assert ["mine", "out"] == sorted(path.name for path in tmp_path.iterdir())


def test_an_onnx_folder_needs_no_torch() -> None:
    """Nor transformers: only a checkpoint has to be exported."""
    check = "import interlock_lab.add_member, sys; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"

    assert 0 == subprocess.run([sys.executable, "-c", check], check=False).returncode
