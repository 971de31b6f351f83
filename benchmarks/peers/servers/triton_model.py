"""Triton's python backend: each instance is a process that runs this file as the model `ensemble`."""

from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from peers.ensemble import Ensemble


class TritonPythonModel:
    """One instance's ensemble; Triton calls it by these names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the ensemble in the instance."""
        self._ensemble = Ensemble()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Scores the requests one after the other."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        prompt, completion = (_text(request, name) for name in ("prompt", "completion"))
        scores = np.array(self._ensemble.score(prompt, completion), dtype=np.float32)
        return triton.InferenceResponse([triton.Tensor("scores", scores)])


def _text(request: Any, name: str) -> str:
    value: bytes = triton.get_input_tensor_by_name(request, name).as_numpy()[0]
    return value.decode()
