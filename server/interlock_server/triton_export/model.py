"""A member of an Interlock bundle as a model of Triton's python backend: the model.onnx beside this file, on ONNX Runtime.

`interlock bundle export-triton` copies this file. It runs in Triton (23.10 or later), which needs numpy and onnxruntime.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # the server brings it


class TritonPythonModel:
    """The name and the methods are the server's. What raises in `initialize` is not served."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model, if it is the one that was exported, and runs where the configuration says."""
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != config["parameters"]["model_digest"]["string_value"]:
            raise triton.TritonModelException("model.onnx is not the file that was exported")
        self._inputs = [item["name"] for item in config["input"]]
        self._outputs = [item["name"] for item in config["output"]]
        self._session = _session(path, args)

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response to each request, but no work for those that nobody waits for: the server itself does not drop them."""
        waiting = [request for request in requests if not request.is_cancelled()]
        answers = iter(self._answers(waiting) if waiting else [])
        return [next(answers) if request in waiting else _cancelled() for request in requests]

    def _answers(self, requests: list[Any]) -> list[Any]:
        """Of one run: requests that the server hands over together have windows of the same length."""
        parts = [[triton.get_input_tensor_by_name(each, name).as_numpy() for name in self._inputs] for each in requests]
        feed = {
            name: np.concatenate(arrays) for name, arrays in zip(self._inputs, zip(*parts, strict=True), strict=True)
        }
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:  # messages of the runtime quote ids, hence text
            raise triton.TritonModelException(type(error).__name__) from None
        ends = np.cumsum([len(arrays[0]) for arrays in parts])[:-1]
        rows = zip(*(np.split(output, ends) for output in outputs), strict=True)
        return [self._response(each) for each in rows]

    def _response(self, outputs: Any) -> Any:
        tensors = [triton.Tensor(name, rows) for name, rows in zip(self._outputs, outputs, strict=True)]
        return triton.InferenceResponse(output_tensors=tensors)


def _session(path: Path, args: dict[str, str]) -> Any:
    """One thread, since instances are the parallelism; on the provider of the instance's kind and no other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    provider: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
    if args["model_instance_kind"] == "GPU":
        provider = ("CUDAExecutionProvider", {"device_id": args["model_instance_device_id"]})
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider], enable_fallback=0)
    if session.get_providers()[0] != provider[0]:
        raise triton.TritonModelException(f"onnxruntime offers no {provider[0]}")
    return session


def _cancelled() -> Any:
    # One for each: the server dies of an error that stands in two responses.
    error = triton.TritonError("nobody waits for it", triton.TritonError.CANCELLED)
    return triton.InferenceResponse(error=error)
