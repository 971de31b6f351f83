"""A plain client that asks one question at a time, to see that a peer works. The load generator has clients of its own."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Driver = Literal["http", "triton"]
Ask = Callable[[str, str], list[float]]
TIMEOUT_S = 10.0
MODEL = "ensemble"


class ProbeError(Exception):
    """No answer, or not the right one."""


@contextmanager
def opened_probe(driver: Driver, port: int) -> Iterator[Ask]:
    """Yields a function from (prompt, completion) to scores that raises ProbeError; it belongs to one thread."""
    with _PROBES[driver](port) as ask:
        yield ask


@contextmanager
def _http(port: int) -> Iterator[Ask]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def ask(prompt: str, completion: str) -> list[float]:
        body = json.dumps({"prompt": prompt, "completion": completion})
        try:
            connection.request("POST", "/score", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ProbeError(type(error).__name__) from error
        if response.status != 200:
            raise ProbeError(f"status {response.status}")
        scores: list[float] = json.loads(content)["scores"]
        return scores

    try:
        yield ask
    finally:
        connection.close()


@contextmanager
def _triton(port: int) -> Iterator[Ask]:
    import numpy as np
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    def text(name: str, value: str) -> triton.InferInput:
        tensor = triton.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value.encode()], dtype=np.object_))
        return tensor

    def ask(prompt: str, completion: str) -> list[float]:
        inputs = [text("prompt", prompt), text("completion", completion)]
        try:
            answer = client.infer(MODEL, inputs, client_timeout=TIMEOUT_S)
        except InferenceServerException as error:
            raise ProbeError(error.status()) from error
        scores: list[float] = answer.as_numpy("scores").tolist()
        return scores

    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield ask


_PROBES = {"http": _http, "triton": _triton}
