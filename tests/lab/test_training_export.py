from pathlib import Path

import numpy as np
import pytest
import torch
from interlock_lab.training import export
from interlock_lab.training.bert import BertClassifier, BertShape
from interlock_lab.training.sentences import SentenceNet, SentenceSettings
from interlock_lab.training.smooth import smooth

SHAPES = ((1, 3), (1, 40), (5, 17), (32, 64))
BERT = BertShape(vocabulary=300, width=32, layers=1, heads=2, inner_width=64, positions=64)
NET = SentenceSettings(width=16, channels=16)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[BertClassifier, Path]:
    torch.manual_seed(0)
    model = BertClassifier(BERT).eval()
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    export.encoder_fp32(model, path, BERT.positions)
    return model, path


def some_inputs(batch: int, length: int) -> dict[str, "torch.Tensor"]:
    ids = torch.randint(1, 300, (batch, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": (torch.arange(length) > 2).long().repeat(batch, 1),
    }


def of_onnx(path: Path, inputs: dict[str, "torch.Tensor"]) -> np.ndarray:
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    return np.asarray(export.session_of(path).run(["logits"], feed)[0])


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_exported_encoder_equals_torch(encoder: tuple[BertClassifier, Path], batch: int, length: int) -> None:
    """Any batch and length, not only those of the sample that was traced."""
    model, path = encoder
    inputs = some_inputs(batch, length)
    expected = model(**inputs)[0].detach().numpy()
    assert of_onnx(path, inputs) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def quantised(encoder: tuple[BertClassifier, Path]) -> Path:
    path = encoder[1].with_name("int8.onnx")
    export.quantized(encoder[1], path)
    export.fix_ranges(path, [{name: part.numpy() for name, part in some_inputs(4, n).items()} for n in range(4, 40)])
    return path


def test_smoothing_changes_nothing_but_where_the_large_numbers_are(
    encoder: tuple[BertClassifier, Path], tmp_path: Path
) -> None:
    """Factors are divided out of activations and multiplied into weights: the same function."""
    inputs = some_inputs(5, 17)
    smooth(encoder[1], tmp_path / "smooth.onnx", [{name: part.numpy() for name, part in inputs.items()}])
    assert of_onnx(tmp_path / "smooth.onnx", inputs) == pytest.approx(of_onnx(encoder[1], inputs), abs=1e-4)


def test_the_quantised_encoder_is_close(encoder: tuple[BertClassifier, Path], quantised: Path) -> None:
    """INT8 changes a probability by a little, not a verdict by a lot."""
    inputs = some_inputs(5, 17)
    expected = torch.sigmoid(encoder[0](**inputs)[0]).detach().numpy()
    found = 1 / (1 + np.exp(-of_onnx(quantised, inputs)))
    assert export.difference(expected, found).largest < 0.05


def test_batch_mates_cannot_change_a_score(quantised: Path) -> None:
    """A row scores the same alone and in a batch: no scale is shared between rows."""
    inputs = some_inputs(8, 24)
    alone = [of_onnx(quantised, {name: part[row : row + 1] for name, part in inputs.items()})[0] for row in range(8)]
    assert of_onnx(quantised, inputs) == pytest.approx(np.stack(alone), abs=1e-5)


def test_the_exported_sentence_net_equals_torch(tmp_path: Path) -> None:
    """Sentences of three tokens are shorter than the widest filter and still score."""
    torch.manual_seed(0)
    model = SentenceNet(300, NET).eval()
    export.sentences_fp32(model, tmp_path / "net.onnx", 64)
    for batch, length in SHAPES:
        inputs = {name: value for name, value in some_inputs(batch, length).items() if name != "token_type_ids"}
        expected = model(**inputs).detach().numpy()
        assert of_onnx(tmp_path / "net.onnx", inputs) == pytest.approx(expected, abs=1e-5)


def test_an_exported_file_names_no_path(encoder: tuple[BertClassifier, Path]) -> None:
    """The exporter notes the stack of every node, with the folders of whoever trained."""
    content = encoder[1].read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content
