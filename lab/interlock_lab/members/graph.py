"""Puts the declared head into the model's own graph, so that the server runs it as it runs any other member.

The server takes `logits` [n, categories] and applies the logistic function. For softmax, the log-odds of "one of these
labels" are logsumexp(these) - logsumexp(the others): exact, and finite however sure the model is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from interlock_server.errors import ConfigError
from onnx import TensorProto, helper, numpy_helper

from interlock_lab.members.labels import Head

INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
OUTPUT = "logits"
RAW = "interlock_raw"
AXES_ARE_INPUTS_FROM = 18
SQUASHED = ("Sigmoid", "Softmax", "LogSoftmax")


def open_graph(path: Path) -> Any:
    """The model, its weights included; raises ConfigError when it is not one that the server can feed."""
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors share no base
        raise ConfigError(f"{path.name}: is not an ONNX model") from error
    _check_inputs(model.graph, path.name)
    output = _output(model.graph, path.name)
    if any(node.op_type in SQUASHED and output in node.output for node in model.graph.node):
        raise ConfigError(f"{path.name}: its output {output} is already squashed; export the logits instead")
    return model


def columns_of(path: Path, model: Any) -> int:
    """How many labels the model scores: it is run once, on nothing in particular."""
    output = _output(model.graph, path.name)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        feed = {item.name: np.ones((1, 4), dtype=np.int64) for item in session.get_inputs()}
        found = np.asarray(session.run([output], feed)[0])
    except Exception as error:
        raise ConfigError(f"{path.name}: does not run on ONNX Runtime: {type(error).__name__}") from error
    if found.ndim != 2 or len(found) != 1:
        raise ConfigError(f"{path.name}: its output {output} has the shape {found.shape}, not one row per text")
    return int(found.shape[1])


def attach(model: Any, head: Head) -> None:
    """Replaces the model's outputs by one, `logits`, with a column for each of the head's categories."""
    graph = model.graph
    _rename(graph, _output(graph, "model"), RAW)
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    graph.node.append(helper.make_node("Cast", [RAW], [f"{RAW}_float"], to=TensorProto.FLOAT))
    graph.initializer.append(numpy_helper.from_array(np.array([1]), f"{RAW}_axis"))
    names = []
    for category, columns in head.columns.items():
        names.append(f"{RAW}_{category}")
        graph.node.extend(_column(head, category, columns, names[-1], opset))
    graph.node.append(helper.make_node("Concat", names, [OUTPUT], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(names)]))


def _column(head: Head, category: str, columns: Sequence[int], result: str, opset: int) -> Iterator[Any]:
    if head.activation == "sigmoid":
        yield from _reduced("ReduceMax", columns, result, opset)
        return
    yield from _reduced("ReduceLogSumExp", columns, f"{result}_harm", opset)
    yield from _reduced("ReduceLogSumExp", head.rest(category), f"{result}_rest", opset)
    yield helper.make_node("Sub", [f"{result}_harm", f"{result}_rest"], [result])


def _reduced(operator: str, columns: Sequence[int], result: str, opset: int) -> Iterator[Any]:
    """The chosen columns as one, [n, 1]."""
    places = numpy_helper.from_array(np.array(columns, dtype=np.int64))
    yield helper.make_node("Constant", [], [f"{result}_places"], value=places)
    yield helper.make_node("Gather", [f"{RAW}_float", f"{result}_places"], [f"{result}_each"], axis=1)
    if opset >= AXES_ARE_INPUTS_FROM:
        yield helper.make_node(operator, [f"{result}_each", f"{RAW}_axis"], [result], keepdims=1)
    else:
        yield helper.make_node(operator, [f"{result}_each"], [result], axes=[1], keepdims=1)


def _check_inputs(graph: Any, name: str) -> None:
    weights = {item.name for item in graph.initializer}
    inputs = {item.name: item.type.tensor_type for item in graph.input if item.name not in weights}
    if not {"input_ids", "attention_mask"} <= set(inputs) <= INPUTS:
        raise ConfigError(f"{name}: its inputs are {', '.join(inputs)}; input_ids and attention_mask are needed")
    for item, tensor in inputs.items():
        if tensor.elem_type != TensorProto.INT64:
            raise ConfigError(f"{name}: {item} must be int64")
        if len(tensor.shape.dim) != 2 or any(dim.HasField("dim_value") for dim in tensor.shape.dim):
            raise ConfigError(f"{name}: {item} has a fixed shape; export it with dynamic batch and length")


def _output(graph: Any, name: str) -> str:
    outputs = [item.name for item in graph.output]
    if OUTPUT in outputs or len(outputs) == 1:
        return OUTPUT if OUTPUT in outputs else str(outputs[0])
    raise ConfigError(f"{name}: has the outputs {', '.join(outputs)}, and none is called {OUTPUT}")


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if item == old else item for item in names]
    del graph.value_info[:]  # notes only, and one may be about the renamed value
