"""Makes the models that the backend tests run: `python make_tiny_onnx.py`, with the package onnx (not needed to run the tests).

tiny.onnx: logits are sums over tokens of a random embedding, so that every token and its type count, and padding would show.
hidden.onnx: the same, with the sums over tokens alone as hidden states.
endless.onnx: never ends by itself, so that only terminating the run does. wrong_inputs.onnx: takes other inputs.
tokenizer.json: uncased WordPiece over single ASCII letters and digits, a few words and a few Cyrillic letters.
"""

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "tea", "cup", "she", "he", "stab", "kill", "##ing", "##ed"]
LETTERS = string.ascii_lowercase + string.digits + "абвгдежзик"
VOCABULARY = [*SPECIAL, *WORDS, *string.punctuation, "。", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CATEGORIES = 4
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def main() -> None:
    """Writes every file."""
    save_tokenizer()
    save("tiny.onnx", [*sum_of_embeddings(), helper.make_node("Add", ["by_token", "by_type"], ["logits"])], INPUTS)
    logits = helper.make_node("Add", ["by_token", "by_type"], ["logits"])
    hidden = helper.make_node("Identity", ["by_token"], ["hidden"])
    save("hidden.onnx", [*sum_of_embeddings(), logits, hidden], INPUTS, ["logits", "hidden"])
    save("wrong_inputs.onnx", [helper.make_node("Cast", ["pixels"], ["logits"], to=TensorProto.FLOAT)], ["pixels"])
    save("endless.onnx", endless(), INPUTS)


def save_tokenizer() -> None:
    """As BERT's, uncased."""
    vocabulary = {token: place for place, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(HERE / "tokenizer.json"))


def sum_of_embeddings() -> list[onnx.NodeProto]:
    """The nodes of by_token + by_type: [n, 4] from ids and types [n, length], under the attention mask."""
    random = np.random.default_rng(0)
    tokens = random.normal(0, 0.3, (len(VOCABULARY), CATEGORIES)).astype(np.float32)
    types = random.normal(0, 0.1, (2, CATEGORIES)).astype(np.float32)
    nodes = [
        constant("tokens", tokens),
        constant("types", types),
        constant("one", np.array([1])),
        constant("two", np.array([2])),
    ]
    nodes.append(helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Unsqueeze", ["mask", "two"], ["wide_mask"]))
    for table, ids, out in (("tokens", "input_ids", "by_token"), ("types", "token_type_ids", "by_type")):
        nodes.append(helper.make_node("Gather", [table, ids], [f"{out}_each"]))
        nodes.append(helper.make_node("Mul", [f"{out}_each", "wide_mask"], [f"{out}_masked"]))
        nodes.append(helper.make_node("ReduceSum", [f"{out}_masked", "one"], [out], keepdims=0))
    return nodes


def endless() -> list[onnx.NodeProto]:
    """The same, after a loop of 2**60 rounds."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["sum"], ["next_sum"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", CATEGORIES]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", TensorProto.FLOAT, ["n", CATEGORIES]),
        ],
    )
    return [
        *sum_of_embeddings(),
        constant("rounds", np.array(2**60)),
        constant("always", np.array(True)),
        helper.make_node("Loop", ["rounds", "always", "by_token"], ["looped"], body=body),
        helper.make_node("Add", ["looped", "by_type"], ["logits"]),
    ]


def constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    """A node that is a value."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def save(name: str, nodes: list[onnx.NodeProto], inputs: list[str], outputs: Sequence[str] = ("logits",)) -> None:
    """Checks and writes a model of int64 inputs [n, length] and float outputs."""
    graph = helper.make_graph(
        nodes,
        name.partition(".")[0],
        [helper.make_tensor_value_info(item, TensorProto.INT64, ["n", "length"]) for item in inputs],
        [helper.make_tensor_value_info(item, TensorProto.FLOAT, ["n", "columns"]) for item in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(HERE / name))


main()
