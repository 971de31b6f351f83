"""Members that run on ONNX Runtime. A provider that is not the one asked for is refused, never fallen back from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, Run, Window, logistic
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange


class OnnxBackend:
    """A classifier with inputs `input_ids`, `attention_mask` (and `token_type_ids`) and an output `logits` [n, categories].

    Raises BackendError when the model cannot be loaded, has other inputs, or runs on another provider than `provider`.
    """

    lane = "cpu"
    batching = BatchRule()

    def __init__(
        self, member: MemberManifest, files: Mapping[str, Path], provider: str = "CPUExecutionProvider"
    ) -> None:
        self._reads = member.reads
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(f"member {member.name}: this onnxruntime has no {provider}")
        self._session = load_session(files["model"], session_options(), [provider], member.name)
        self.provider = str(self._session.get_providers()[0])
        if self.provider != provider:
            raise BackendError(f"member {member.name}: asked for {provider}, got {self.provider}")
        self._inputs = inputs_of(self._session, member.name)
        self._tokens = load_tokens(files["tokenizer"], member.name)

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._reads, self._tokens)

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """One run for windows of equal length, which are stacked; different lengths are run one after the other."""
        by_length: dict[int, list[int]] = {}
        for place, window in enumerate(windows):
            by_length.setdefault(len(window.ids), []).append(place)
        logits: dict[int, NDArray[np.float64]] = {}
        for places in by_length.values():
            options = onnxruntime.RunOptions()
            run.on_stop(lambda options=options: setattr(options, "terminate", True))  # type: ignore[misc]
            rows = self._session.run(["logits"], self._feed([windows[p] for p in places]), options)[0]
            logits.update(zip(places, np.asarray(rows, dtype=np.float64), strict=True))
        return logistic(np.stack([logits[place] for place in range(len(windows))]))

    def close(self) -> None:
        """The session goes with the last reference to it."""

    def _feed(self, windows: Sequence[Window]) -> dict[str, Any]:
        ids = np.stack([window.ids for window in windows])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if "token_type_ids" in self._inputs:
            contexts = np.array([[window.context_size] for window in windows])
            # A single text is of type 0 throughout.
            feed["token_type_ids"] = ((np.arange(ids.shape[1])[None, :] >= contexts) & (contexts > 0)).astype(np.int64)
        return feed


def session_options() -> Any:
    """What holds for every session, wherever it runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # lanes are the parallelism; with more, sessions fight for the cores
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors reach us as exceptions; their messages would quote ids, hence text
    return options


def load_session(path: Path, options: Any, providers: Sequence[Any], member: str) -> Any:
    """The model in a file; raises BackendError. Nothing is fallen back to when it does not load or run."""
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise BackendError(f"member {member}: {path.name} does not load: {type(error).__name__}") from error


def inputs_of(session: Any, member: str) -> set[str]:
    """The names of the model's inputs; raises BackendError when they are not those of a text classifier."""
    inputs = {item.name for item in session.get_inputs()}
    if not {"input_ids", "attention_mask"} <= inputs <= {"input_ids", "attention_mask", "token_type_ids"}:
        raise BackendError(f"member {member}: the model's inputs are {sorted(inputs)}")
    return inputs
