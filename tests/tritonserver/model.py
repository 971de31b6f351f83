"""What the real server runs: tests/data/tiny.onnx on ONNX Runtime, as a model of Triton's python backend.

A number of seconds in the file `delay` beside the versions makes each request that slow, also while the server runs; with a
file `empty` beside them answers have no rows, and are called OK.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # the server brings it


class TritonPythonModel:
    """The name and the methods are the server's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._inputs = [item["name"] for item in config["input"]]
        self._scale = np.float32(parameters["scale"])
        self._delay, self._empty = (Path(args["model_repository"]) / name for name in ("delay", "empty"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(parameters["path"], options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response to each request, but no work for those that nobody waits for: the server itself does not drop them."""
        return [_cancelled() if request.is_cancelled() else self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        time.sleep(float(self._delay.read_text()) if self._delay.exists() else 0)
        feed = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        feed.setdefault("token_type_ids", np.zeros_like(feed["input_ids"]))
        logits = self._session.run(["logits"], feed)[0] * self._scale
        logits = logits[:0] if self._empty.exists() else logits
        return triton.InferenceResponse(output_tensors=[triton.Tensor("logits", logits)])


def _cancelled() -> Any:
    # One for each: the server dies of an error that stands in two responses.
    error = triton.TritonError("nobody waits for it", triton.TritonError.CANCELLED)
    return triton.InferenceResponse(error=error)
