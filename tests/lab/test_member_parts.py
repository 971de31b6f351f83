"""The parts of importing a member: ranking examples, the head in the graph, and how long an input may be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from interlock_lab.add_member import MEMBER_CHECK
from interlock_lab.examples import load_examples, ordinary
from interlock_lab.members.check import ranking, refuse_meaningless
from interlock_lab.members.graph import attach, open_graph
from interlock_lab.members.labels import Head, read_declared
from interlock_lab.members.source import find_source
from interlock_lab.training.data import PROJECT_DATA
from interlock_lab.training.rows import CATEGORIES
from interlock_server.errors import BundleError, ConfigError
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from .checkpoints import save_tokenizer

RANDOM = np.random.default_rng(3)
TABLE = np.array([[-40.0, 2.0, 60.0], [1.0, -3.0, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32)


def test_a_ranking_has_an_interval() -> None:
    """Of two normal densities two apart the area is 0.92, and 30 examples of each know it to about 0.06."""
    found = ranking(RANDOM.normal(2, 1, 30), RANDOM.normal(0, 1, 30))

    assert found.low < 0.92 < found.high
    assert 0.05 < found.high - found.low < 0.2


def test_ties_are_worth_half() -> None:
    """A constant score knows nothing."""
    found = ranking(np.ones(30), np.ones(40))

    assert (0.5, 0.5, 0.5) == (found.auroc, found.low, found.high)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_refused(seed: int) -> None:
    """In every category, with its name, its figure and how many examples there were."""
    random = np.random.default_rng(seed)
    found = {name: ranking(random.normal(size=30), random.normal(size=60)) for name in CATEGORIES}
    with pytest.raises(
        BundleError, match=r"does not tell harmful from benign: AUROC 0\.\d\d .* over 30 harmful and 60 benign"
    ):
        refuse_meaningless("noise", found)


def test_one_swapped_category_is_enough() -> None:
    """The others do not make up for it."""
    good, bad = ranking(np.ones(30), np.zeros(30)), ranking(np.zeros(30), np.ones(30))
    with pytest.raises(BundleError) as caught:
        refuse_meaningless("mixed", {"illicit": good, "self_harm": bad})

    assert "illicit" not in str(caught.value)
    assert str(caught.value).startswith("member mixed: self_harm: ranks benign above harmful")


def test_the_examples_that_ship_suffice() -> None:
    """Thirty of each for every category, half of the benign ones look-alikes."""
    rows = load_examples(MEMBER_CHECK)

    assert all(30 <= sum(row.harmful_in(category) for row in rows) for category in CATEGORIES)
    assert 60 <= ordinary(rows).sum() <= sum(row.benign for row in rows) - 60


def test_the_examples_that_ship_are_rows_of_the_written_set() -> None:
    """An id says which file a row is from."""
    rows = [json.loads(line) for line in MEMBER_CHECK.read_bytes().splitlines()]
    files = {row["id"].rpartition("-")[0] for row in rows}
    written = [
        line for name in files for line in (PROJECT_DATA / "written" / f"{name}.jsonl").read_bytes().splitlines()
    ]

    assert all(row in map(json.loads, written) for row in rows[::16])


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_head_is_in_the_graph(tmp_path: Path, opset: int, activation: str) -> None:
    """Log-odds of "any of these labels", whatever the opset, and finite where a probability would be 1."""
    save_table(tmp_path / "model.onnx", opset)
    model = open_graph(tmp_path / "model.onnx")
    attach(model, Head(activation, {"one": (0,), "two": (1, 2)}, 3))
    onnx.checker.check_model(model)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.arange(3)[:, None]
    logits = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]

    assert expected(activation) == pytest.approx(logits, abs=1e-5)


def expected(activation: str) -> Any:
    if activation == "sigmoid":
        return np.stack([TABLE[:, 0], TABLE[:, 1:].max(axis=1)], axis=1)
    sums = np.exp(TABLE.astype(np.float64))
    two = np.log(sums[:, 1] + sums[:, 2]) - TABLE[:, 0]
    return np.stack([-two, two], axis=1)


def save_table(path: Path, opset: int = 18, shape: tuple[Any, ...] = ("n", "length"), last: str = "Identity") -> Path:
    """A model whose logits are a row of TABLE, chosen by the first id."""
    nodes = [
        helper.make_node("Constant", [], ["table"], value=onnx.numpy_helper.from_array(TABLE)),
        helper.make_node("Constant", [], ["first"], value=onnx.numpy_helper.from_array(np.array(0))),
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["masked"]),
        helper.make_node("Gather", ["masked", "first"], ["id"], axis=1),
        helper.make_node("Gather", ["table", "id"], ["rows"], axis=0),
        helper.make_node(last, ["rows"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "table", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"shape": (1, 128)}, "input_ids has a fixed shape"), ({"last": "Sigmoid"}, "logits is already squashed")],
)
def test_a_graph_that_cannot_serve_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """With the reason, before anything is built on it."""
    with pytest.raises(ConfigError, match=message):
        open_graph(save_table(tmp_path / "model.onnx", **changes))


@pytest.mark.parametrize(
    ("config", "tokens_max"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 130, "pad_token_id": 1}, 128),
        ({"model_type": "deberta-v2", "max_position_embeddings": 4096}, 512),
        ({"model_type": "modernbert"}, None),
    ],
)
def test_the_longest_input_follows_from_the_positions(
    tmp_path: Path, config: dict[str, Any], tokens_max: int | None
) -> None:
    """RoBERTa's first positions are taken by the padding token, and nothing is longer than 512."""
    save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_table(tmp_path / "model.onnx")

    assert tokens_max == find_source(tmp_path).tokens_max


def test_a_tokenizer_may_know_a_shorter_limit(tmp_path: Path) -> None:
    """The shorter of two limits counts."""
    save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 64}')
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 512}')
    save_table(tmp_path / "model.onnx")

    assert 64 == find_source(tmp_path).tokens_max


def test_yaml_that_reads_a_label_as_false_is_refused(tmp_path: Path) -> None:
    """`No: safe` would otherwise be a label called False."""
    (tmp_path / "labels.yaml").write_text("No: safe\n")
    with pytest.raises(ConfigError, match="quotes"):
        read_declared([], tmp_path / "labels.yaml")
