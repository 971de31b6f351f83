"""What the ONNX file of a member takes and gives, measured against what the backend `triton` will ask of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interlock_server.backends.gate import Distances
from interlock_server.backends.onnx import OnnxBackend, inputs_of, load_session, session_options
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BundleError

Shape = Sequence[str | int | None]


class Tensors(NamedTuple):
    """Inputs are [windows, tokens] of int64, outputs [windows, columns] of float32."""

    inputs: Sequence[str]
    outputs: Mapping[str, int]
    """Name -> columns."""
    company: bool
    """Whether a window gets the same scores among others as alone."""


def tensors_of(member: MemberManifest, files: Mapping[str, Path]) -> Tensors:
    """Of an `onnx` member; raises BackendError or BundleError when no Triton server could run it for Interlock."""
    session = load_session(files["model"], session_options(), ["CPUExecutionProvider"], member.name)
    outputs = {"logits": len(member.categories)}
    if "gate" in files:
        outputs["hidden"] = Distances(files["gate"], member.name).width
    inputs = sorted(inputs_of(session, member.name))
    for item in session.get_inputs():
        _expect(member.name, item, "tensor(int64)", None)
    found = {item.name: item for item in session.get_outputs()}
    for name, columns in outputs.items():
        if name not in found:
            raise BundleError(f"member {member.name}: the model has no output {name}")
        _expect(member.name, found[name], "tensor(float)", columns)
    return Tensors(inputs, outputs, OnnxBackend(member, files).ignores_company())


def _expect(member: str, item: Any, kind: str, columns: int | None) -> None:
    """Any number of windows, and of columns what is expected, or any number too, where the file leaves it open."""
    if item.type != kind:
        raise BundleError(f"member {member}: {item.name} is a {item.type}, not a {kind}")
    shape: Shape = item.shape
    if len(shape) != 2 or isinstance(shape[0], int) or (isinstance(shape[1], int) and shape[1] != columns):
        wanted = "tokens" if columns is None else columns
        raise BundleError(f"member {member}: {item.name} has the shape {list(shape)}, not [windows, {wanted}]")
