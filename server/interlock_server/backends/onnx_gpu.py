"""Members that run on ONNX Runtime on a GPU: inputs of few shapes, in memory that was bound once and stays.

Everything that depends on the GPU itself is in gpu_providers.py; with the provider cpu, this runs anywhere.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from interlock_server.backends.backend import Ids, Reading, Run, Window, logistic
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.gpu_providers import TARGETS, default_cache, open_session, page_locked
from interlock_server.backends.onnx import inputs_of
from interlock_server.backends.padding import SIZE_MAX, Shape, Shapes, fill, in_order
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange


class OnnxGpuBackend:
    """The same classifiers as OnnxBackend, on the provider that the manifest names; scores several windows in a run.

    Raises BackendError when the model cannot be loaded or run there. TensorRT builds its engine when it is made, which
    takes minutes, and keeps it in `cache`.
    """

    def __init__(self, member: MemberManifest, files: Mapping[str, Path], cache: Path | None = None) -> None:
        target = TARGETS[member.runs.provider]
        self.provider, self.lane, self._device = target.provider, target.lane, target.device
        self._reads = member.reads
        self._tokens = load_tokens(files["tokenizer"], member.name)
        self._shapes = shapes_of(member)
        self.batching = self._shapes.rule
        self._session = open_session(member, files["model"], self._shapes, cache or default_cache())
        self._inputs = inputs_of(self._session, member.name)
        self._spare: dict[Shape, list[Binding]] = {shape: [] for shape in self._shapes.all()}
        self._lock = threading.Lock()
        try:
            self.warm()
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(
                f"member {member.name}: does not run on {self.provider}: {type(error).__name__}"
            ) from error

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._reads, self._tokens)

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """As many runs as the windows need, one after the other."""
        rows: dict[int, NDArray[np.float64]] = {}
        for shape, places in self._shapes.batches(windows):
            options = onnxruntime.RunOptions()
            run.on_stop(lambda options=options: setattr(options, "terminate", True))  # type: ignore[misc]
            with self._binding(shape) as binding:
                rows.update(zip(places, binding.run([windows[p] for p in places], options), strict=True))
        return logistic(in_order(rows))

    def warm(self) -> None:
        """Runs every shape once, so that no caller waits for memory or for kernels to be chosen."""
        for shape in self._shapes.all():
            with self._binding(shape) as binding:
                binding.run([], onnxruntime.RunOptions())

    def close(self) -> None:
        """The session goes with the last reference to it."""

    @contextmanager
    def _binding(self, shape: Shape) -> Iterator["Binding"]:
        """Buffers that nobody else uses meanwhile; those of a run that failed are not used again."""
        with self._lock:
            spare = self._spare[shape]
            binding = spare.pop() if spare else None
        binding = binding or Binding(self._session, self._inputs, shape, self._device)
        yield binding
        with self._lock:
            spare.append(binding)


class Binding:
    """Buffers of one shape, here and on the device, that stay where they are from run to run."""

    def __init__(self, session: Any, names: set[str], shape: Shape, device: str) -> None:
        self._session = session
        self._here: dict[str, Ids] = {name: page_locked(shape, device) for name in names}
        self._there = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(shape), np.int64, device, 0) for name in names
        }
        self._bound = session.io_binding()
        for name, value in self._there.items():
            self._bound.bind_ortvalue_input(name, value)
        self._bound.bind_output("logits", "cpu")

    def run(self, windows: Sequence[Window], options: Any) -> NDArray[np.float64]:
        """Logits, a row for each window."""
        fill(self._here, windows)
        for name, value in self._there.items():
            value.update_inplace(self._here[name])  # returns when the copy is complete
        self._session.run_with_iobinding(self._bound, options)
        rows = np.asarray(self._bound.copy_outputs_to_cpu()[0], dtype=np.float64)
        return rows[: len(windows)]


def shapes_of(member: MemberManifest) -> Shapes:
    """The shapes of a member. One engine of TensorRT takes all of them, so that its largest must hold the most windows
    of the longest length: sizes are cut to what that leaves.
    """
    tokens_max, budget = member.reads.tokens_max, member.runs.batch_tokens_max
    size_max = max(1, budget // tokens_max) if member.runs.provider == "tensorrt" else SIZE_MAX
    return Shapes(tokens_max, budget, min(size_max, SIZE_MAX))
