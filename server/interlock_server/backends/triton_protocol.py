"""What is said to a Triton server (KServe V2), and what its answers mean. Arithmetic and tables, no I/O.

Nothing that a server sends is believed before it is measured, and none of its messages is passed on: they may quote ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import grpc
import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from interlock_server.backends.backend import Window
from interlock_server.backends.padding import fill

NEEDED, OPTIONAL = {"input_ids", "attention_mask"}, {"token_type_ids"}
MICROSECONDS_MAX = 2**62
ANSWER_BYTES_MAX = 4 << 20


class Model(NamedTuple):
    """What one server has: which version, what it takes and gives, and how many windows in one call (0: any number)."""

    version: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, int]
    """Name -> columns."""
    batch_max: int


class Failure(NamedTuple):
    """What a status means: for the call, as in ScoreError, and for the server."""

    cause: Literal["TIMED_OUT", "FAILED", "INVALID", "OVERLOADED"]
    lost: bool = False
    silent: bool = False
    """No word came back; others are asked first for a while."""


FAILURES: Sequence[tuple[StatusCode | None, str, Failure]] = (
    (StatusCode.UNAVAILABLE, "Exceeds maximum queue size", Failure("OVERLOADED")),
    (StatusCode.UNAVAILABLE, "Request timeout expired", Failure("TIMED_OUT")),
    # Any other: no connection, or a server that is starting or going.
    (StatusCode.UNAVAILABLE, "", Failure("FAILED", lost=True)),
    (StatusCode.DEADLINE_EXCEEDED, "", Failure("TIMED_OUT", silent=True)),
    (StatusCode.RESOURCE_EXHAUSTED, "", Failure("OVERLOADED")),
    # The model does not take what it took when it was looked at.
    (StatusCode.INVALID_ARGUMENT, "", Failure("INVALID", lost=True)),
    # The process of the model died; the server starts another, from the files as they are now.
    (StatusCode.INTERNAL, "Stub process", Failure("FAILED", lost=True)),
    (StatusCode.INTERNAL, "", Failure("FAILED")),
    (StatusCode.CANCELLED, "", Failure("FAILED")),
    # NOT_FOUND among them: a server that was asked to end says it of models that it unloads.
    (None, "", Failure("FAILED", lost=True)),
)
"""Status, a part of the message -> meaning. The first row that fits counts."""


def meaning(error: grpc.RpcError) -> Failure:
    """What a failed call means, by the table."""
    code, message = error.code(), error.details() or ""
    return next(found for status, part, found in FAILURES if status in (None, code) and part in message)


def describe(metadata: Any, config: Any, expected: Mapping[str, int]) -> Model:
    """The model that a server announces; raises ValueError that says how it is not the one expected, which gives outputs
    of so many columns.
    """
    inputs = {tensor.name: tensor for tensor in metadata.inputs}
    if not NEEDED <= set(inputs) <= NEEDED | OPTIONAL:
        raise ValueError(f"the model's inputs are {sorted(inputs)}")
    outputs = {tensor.name: tensor for tensor in metadata.outputs}
    if not set(expected) <= set(outputs):
        raise ValueError(f"the model's outputs are {sorted(outputs)}")
    for tensor in inputs.values():
        _expect(tensor, "INT64", [-1, -1])
    for name, columns in expected.items():
        _expect(outputs[name], "FP32", [-1, columns])
    return Model(max(metadata.versions, key=int, default=""), tuple(sorted(inputs)), expected, config.max_batch_size)


def infer_request(name: str, model: Model, windows: Sequence[Window], left_s: float) -> Any:
    """One call for windows of any lengths, padded to the longest; the server drops it when `left_s` have passed."""
    shape = (len(windows), max(len(window.ids) for window in windows))
    inputs = {item: np.zeros(shape, dtype="<i8") for item in model.inputs}
    fill(inputs, windows)
    request = pb.ModelInferRequest(model_name=name, model_version=model.version)
    for item, values in inputs.items():
        request.inputs.add(name=item, datatype="INT64", shape=shape)
        request.raw_input_contents.append(values.tobytes())
    for item in model.outputs:
        request.outputs.add(name=item)
    request.parameters["timeout"].int64_param = min(max(int(left_s * 1e6), 1), MICROSECONDS_MAX)
    return request


def read_outputs(answer: Any, model: Model, rows: int) -> Mapping[str, NDArray[np.float32]] | None:
    """The outputs by name, or None if the answer is not exactly what was asked for.

    The bytes are counted first: a server with numpy 2 in its python backend sends none, with a good shape and status OK.
    """
    if answer.model_version != model.version or len(answer.raw_output_contents) != len(answer.outputs):
        return None
    if sorted(output.name for output in answer.outputs) != sorted(model.outputs):
        return None
    found = {}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        columns = model.outputs[output.name]
        if output.datatype != "FP32" or list(output.shape) != [rows, columns] or len(raw) != rows * columns * 4:
            return None
        found[output.name] = np.frombuffer(raw, dtype="<f4").reshape(rows, columns)
    return found


def _expect(tensor: Any, datatype: str, shape: list[int]) -> None:
    if tensor.datatype != datatype:
        raise ValueError(f"{tensor.name} is of type {tensor.datatype}, not {datatype}")
    if list(tensor.shape) != shape:
        raise ValueError(f"{tensor.name} has the shape {list(tensor.shape)}, not {shape}")
