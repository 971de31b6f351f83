"""Answers that are not what was asked for, and statuses: a table of what each comes to. None of them is a score."""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from interlock_server.backends.backend import RemoteScore, ScoreError
from interlock_server.errors import BackendError, BundleError
from tritonclient.grpc import service_pb2 as pb

from .fake_server import Refusal, faked, good
from .members import any_scores, local, windows
from .members import connected as connected_to
from .repository import write_model
from .server import TritonServer

MARKER = "xyzzy-marker"
connected = partial(connected_to, check=any_scores)  # the fake gives zeros
Code = grpc.StatusCode


def changed(**fields: Any) -> Any:
    """A good answer whose output has other fields."""

    def answer(request: Any) -> Any:
        found = good(request)
        found.outputs[0].MergeFrom(pb.ModelInferResponse.InferOutputTensor(**fields))
        return found

    return answer


def shaped(*shape: int) -> Any:
    """An answer of another shape, with as many bytes."""

    def answer(request: Any) -> Any:
        found = good(request)
        found.outputs[0].shape[:] = shape
        found.raw_output_contents[0] = bytes(4 * int(np.prod(shape)))
        return found

    return answer


def with_bytes(*contents: bytes) -> Any:
    """A good answer with other bytes behind it."""

    def answer(request: Any) -> Any:
        found = good(request)
        found.raw_output_contents[:] = contents
        return found

    return answer


def of_version(version: str) -> Any:
    """A good answer of another version of the model."""

    def answer(request: Any) -> Any:
        found = good(request)
        found.model_version = version
        return found

    return answer


def without_outputs(request: Any) -> Any:
    """Nothing."""
    return pb.ModelInferResponse(model_name="tiny", model_version="1")


WRONG = {
    "no bytes": with_bytes(b""),
    "no contents": with_bytes(),
    "too few bytes": with_bytes(bytes(15)),
    "too many bytes": with_bytes(bytes(17)),
    "two contents": with_bytes(bytes(16), bytes(16)),
    "nan": with_bytes(np.full((1, 4), np.nan, dtype="<f4").tobytes()),
    "infinity": with_bytes(np.full((1, 4), -np.inf, dtype="<f4").tobytes()),
    "another type": changed(datatype="FP64"),
    "another name": changed(name="scores"),
    "too many rows": shaped(2, 4),
    "no rows": shaped(0, 4),
    "too few columns": shaped(1, 3),
    "another rank": shaped(4),
    "another version": of_version("2"),
    "no outputs": without_outputs,
}


async def outcome(backend: Any) -> tuple[str, bool]:
    """Cause and loss of a call that fails."""
    with pytest.raises(ScoreError) as caught:
        await backend.score(windows(backend), time.monotonic() + 20)
    assert MARKER not in repr((caught.value, caught.value.__cause__))
    return caught.value.cause, caught.value.lost


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_that_is_not_what_was_asked_for_is_no_score(wrong: str):
    """Not even in part. The server is not asked again before it was looked at."""
    async with faked() as (fake, endpoint), connected(endpoint, rest_ms=10_000) as backend:
        fake.answer = WRONG[wrong]

        assert ("INVALID", True) == await outcome(backend)
        assert {endpoint: "a call was INVALID"} == backend.complaints


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (Code.UNAVAILABLE, "[request id: 1] Exceeds maximum queue size", ("OVERLOADED", False)),
        (Code.UNAVAILABLE, "Request timeout expired", ("TIMED_OUT", False)),
        (Code.UNAVAILABLE, MARKER, ("FAILED", True)),
        (Code.DEADLINE_EXCEEDED, MARKER, ("TIMED_OUT", False)),
        (Code.RESOURCE_EXHAUSTED, MARKER, ("OVERLOADED", False)),
        (Code.INVALID_ARGUMENT, MARKER, ("INVALID", True)),
        (Code.INTERNAL, "Stub process 'tiny_0_0' is not healthy.", ("FAILED", True)),
        (Code.INTERNAL, MARKER, ("FAILED", False)),
        (Code.CANCELLED, MARKER, ("FAILED", False)),
        (Code.NOT_FOUND, "Request for unknown model: 'tiny' is not found", ("FAILED", True)),
        (Code.UNIMPLEMENTED, MARKER, ("FAILED", True)),
        (Code.UNAUTHENTICATED, MARKER, ("FAILED", True)),
        (Code.UNKNOWN, MARKER, ("FAILED", True)),
    ],
)
async def test_what_a_status_comes_to(code: grpc.StatusCode, message: str, expected: tuple[str, bool]):
    """Cause and loss; what the server says is not passed on."""

    def refuse(request: Any) -> Any:
        raise Refusal(code, message)

    async with faked() as (fake, endpoint), connected(endpoint, rest_ms=10_000) as backend:
        fake.answer = refuse

        assert expected == await outcome(backend)


async def test_the_server_is_told_how_much_time_is_left():
    """In microseconds, and which version is meant."""
    async with faked() as (fake, endpoint), connected(endpoint) as backend:
        await backend.score(windows(backend), time.monotonic() + 5)
        request = fake.asked[-1]

    assert 4_000_000 < request.parameters["timeout"].int64_param <= 5_000_000
    assert "1" == request.model_version


async def test_padding_is_masked():
    """Two windows in one call, of which one is shorter."""
    async with faked() as (fake, endpoint), connected(endpoint) as backend:
        both = [windows(backend, "tea")[0], windows(backend, "tea tea")[0]]
        await backend.score(both, time.monotonic() + 5)
        request = fake.asked[-1]
    mask = np.frombuffer(request.raw_input_contents[0], dtype="<i8").reshape(2, -1)

    assert "attention_mask" == request.inputs[0].name
    assert [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]] == mask.tolist()


async def test_servers_are_asked_in_turn():
    """As often as one another."""
    async with faked() as (left, one), faked() as (right, two), connected(one, two) as backend:
        before = len(left.asked)
        for _ in range(10):
            await backend.score(windows(backend), time.monotonic() + 5)

        assert (5, 5) == (len(left.asked) - before, len(right.asked) - before)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.inputs.add(name="pixels"), r"the model's inputs are \['attention_mask', 'input_ids', 'pixels'\]"),
        (lambda m: m.inputs.pop(), r"the model's inputs are \['input_ids'\]"),
        (lambda m: m.outputs.pop(), r"the model's outputs are \[\]"),
        (lambda m: setattr(m.outputs[0], "datatype", "FP16"), "logits is of type FP16, not FP32"),
        (lambda m: m.inputs[0].shape.append(1), r"input_ids has the shape \[-1, -1, 1\], not \[-1, -1\]"),
    ],
)
async def test_a_model_that_takes_or_gives_something_else_is_refused(change: Any, complaint: str):
    """Before it is asked for a score."""
    async with faked() as (fake, endpoint):
        change(fake.metadata)
        with pytest.raises(BackendError, match=f"^member tester: {endpoint}, model tiny: {complaint}$"):
            async with connected(endpoint):
                pass


async def test_of_two_models_only_the_one_that_passes_is_asked():
    """Both servers have the model, and one of them gives other scores."""

    async def half(score: RemoteScore) -> None:
        if not np.allclose(0.5, await score(windows(local()))):
            raise BundleError("it is off")

    async with faked() as (_, one), faked() as (other, two):
        other.answer = with_bytes(np.full((1, 4), 0.5, dtype="<f4").tobytes())
        async with connected(one, two, check=half) as backend:
            assert {two: "it is off"} == backend.complaints


async def test_a_check_that_takes_for_ever_is_given_up():
    """As is a server that does not answer."""

    async def endless(score: RemoteScore) -> None:
        await asyncio.Event().wait()

    async with faked() as (_, endpoint):
        with pytest.raises(BackendError, match=r"model tiny: it does not answer in time$"):
            async with connected(endpoint, check=endless, check_timeout_ms=50):
                pass


async def test_a_real_server_with_numpy_2_is_refused(tmp_path: Path):
    """Its python backend sends no bytes at all, with a good shape and status OK; here it has the packages of these tests."""
    write_model(tmp_path / "models")
    server = TritonServer(tmp_path / "models", packages=Path(sys.prefix)).wait_ready()
    try:
        with pytest.raises(BackendError, match=r"the model is there, but its scores are INVALID$"):
            async with connected(server.endpoint):
                pass
    finally:
        server.kill()
