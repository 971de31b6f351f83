"""Members that are Hugging Face classifiers, run by PyTorch itself: one by one on a CPU, as CUDA graphs on a GPU."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, Run, ScoreError, Window, logistic
from interlock_server.backends.checkpoint import inputs_of, load_classifier
from interlock_server.backends.cuda_graphs import CudaDevice, Device, Graphs
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.padding import Shape, Shapes, fill, in_order
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.bundle.manifest import MemberManifest, MemberRuns
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Runner(Protocol):
    """How the model is run; called from several threads at once."""

    def batches(self, windows: Sequence[Window]) -> Iterator[tuple[Shape, list[int]]]:
        """The windows' places, as they are run together."""
        ...

    def logits(self, shape: Shape, windows: Sequence[Window]) -> NDArray[np.float64]:
        """A row for each window."""
        ...


class PytorchBackend:
    """A multi-label classifier: config.json, safetensors and tokenizer.json, under whatever names. Raises BackendError.

    Graphs are replayed on `devices`, each by one lane at a time; one keeps a GPU busy while other lanes read. A run on a
    GPU cannot be stopped, only not begun.
    """

    def __init__(
        self, member: MemberManifest, files: Mapping[str, Path], devices: Callable[[], Sequence[Device]] | None = None
    ) -> None:
        _refuse(member.name, member.runs)
        self._reads = member.reads
        self._tokens = load_tokens(files["tokenizer"], member.name)
        on_gpu = member.runs.provider == "cuda"
        model = load_classifier(member, files)
        try:
            model = model.to("cuda:0" if on_gpu else "cpu", DTYPES[member.runs.precision])
            self.provider, self.lane = f"pytorch {model.device}", str(model.device)
            shapes = Shapes(member.reads.tokens_max, member.runs.batch_tokens_max)
            if on_gpu or devices:
                on = devices() if devices else [CudaDevice()]
                self._runner: Runner = Graphs(model, inputs_of(model), len(member.categories), shapes, on)
                self.batching = shapes.rule
            else:
                self._runner, self.batching = OneByOne(model), BatchRule()
        except Exception as error:  # memory that does not suffice, a model that does what cannot be recorded
            raise BackendError(
                f"member {member.name}: does not run on {member.runs.provider}: {type(error).__name__}"
            ) from error

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._reads, self._tokens)

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """As many runs as the windows need, one after the other."""
        rows: dict[int, NDArray[np.float64]] = {}
        for shape, places in self._runner.batches(windows):
            if run.stopped:
                raise ScoreError("TIMED_OUT")
            rows.update(zip(places, self._runner.logits(shape, [windows[p] for p in places]), strict=True))
        return logistic(in_order(rows))

    def close(self) -> None:
        """The model goes with the last reference to it."""


class OneByOne:
    """Each window alone at its own length: on a CPU the fastest way, and no window has company that could change it."""

    def __init__(self, model: Any) -> None:
        torch.set_num_threads(1)  # of the whole process: lanes are the parallelism, and would fight for the cores
        self._model = model
        self._names = inputs_of(model)

    def batches(self, windows: Sequence[Window]) -> Iterator[tuple[Shape, list[int]]]:
        """One for each window."""
        for place, window in enumerate(windows):
            yield Shape(1, len(window.ids)), [place]

    def logits(self, shape: Shape, windows: Sequence[Window]) -> NDArray[np.float64]:
        """The one row."""
        inputs = {name: np.empty(shape, dtype=np.int64) for name in self._names}
        fill(inputs, windows)
        with torch.inference_mode():
            rows = self._model(**{name: torch.from_numpy(ids) for name, ids in inputs.items()}).logits
            return np.asarray(rows.double().numpy())


def _refuse(member: str, runs: MemberRuns) -> None:
    if runs.provider == "tensorrt":
        raise BackendError(f"member {member}: tensorrt runs ONNX files; pytorch runs on cpu or cuda")
    if runs.provider == "cpu" and runs.precision == "float16":
        raise BackendError(f"member {member}: float16 is for cuda; on a cpu take bfloat16 or float32")
    if runs.provider == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            f"member {member}: asked for cuda, got none: `nvidia-smi` must list a GPU, and torch must be a CUDA build"
        )
