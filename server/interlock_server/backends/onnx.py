"""Members that run on ONNX Runtime. A provider that is not the one asked for is refused, never fallen back from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, Run, Window, logistic
from interlock_server.backends.cutting import token_windows
from interlock_server.backends.gate import Distances
from interlock_server.backends.padding import fill, in_order
from interlock_server.backends.tokenizer import load_tokens
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

# Short windows: on a CPU a run of several costs less than runs of one, if the padding stays small.
SENTENCES = BatchRule(size_max=16, tokens_max=768, spread_max=4.0)
COMPANY_TOLERANCE = 1e-5
"""Logits; batches move no score by more."""
PROBE = "She poured two cups of tea and sat down by the window. It rained. Then he told her about the town and the sea!"


class OnnxBackend:
    """A classifier with inputs `input_ids`, `attention_mask` (and `token_type_ids`) and an output `logits` [n, categories].

    With a file `gate`, an output `hidden` [n, width] of the same run becomes one column more: how far each window is from
    what the model knows. Raises BackendError when the model cannot be loaded, has other inputs or no such output, or runs
    on another provider than `provider`.
    """

    lane = "cpu"

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
        self._distances = Distances(files["gate"], member.name) if "gate" in files else None
        self._outputs = ["logits"] if self._distances is None else ["logits", "hidden"]
        if self._distances is not None and "hidden" not in {item.name for item in self._session.get_outputs()}:
            raise BackendError(f"member {member.name}: the model has no output hidden, which its gate looks at")
        self.batching = BatchRule()
        if member.reads.input == "sentences" and self.ignores_company():
            self.batching = SENTENCES

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        return token_windows(exchange, self._reads, self._tokens)

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """One run for all windows if they may be padded, else one for those of equal length after the other."""
        if self.batching.size_max > 1:
            return self._scored(self._run(windows, run))
        by_length: dict[int, list[int]] = {}
        for place, window in enumerate(windows):
            by_length.setdefault(len(window.ids), []).append(place)
        logits: dict[int, NDArray[np.float64]] = {}
        for places in by_length.values():
            logits.update(zip(places, self._run([windows[place] for place in places], run), strict=True))
        return self._scored(in_order(logits))

    def ignores_company(self) -> bool:
        """Whether a window gets the same score alone and padded among others; not so where activations are quantised
        by what is in the batch.
        """
        windows = self.read(Exchange("", PROBE)).windows
        try:
            together = self._run(windows, Run())
            alone = np.concatenate([self._run([window], Run()) for window in windows])
        except Exception:  # one at a time then; whether it runs at all is what the golden exchanges tell
            return False
        return together.shape == alone.shape and bool(np.allclose(together, alone, rtol=0, atol=COMPANY_TOLERANCE))

    def close(self) -> None:
        """The session goes with the last reference to it."""

    def _run(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        options = onnxruntime.RunOptions()
        run.on_stop(lambda: setattr(options, "terminate", True))
        logits, *hidden = self._session.run(self._outputs, self._feed(windows), options)
        columns = [np.asarray(logits, dtype=np.float64)]
        if self._distances is not None:
            columns.append(self._distances(hidden[0])[:, np.newaxis])
        return np.hstack(columns)

    def _scored(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of logits; distances stay what they are."""
        if self._distances is None:
            return logistic(rows)
        return np.hstack([logistic(rows[:, :-1]), rows[:, -1:]])

    def _feed(self, windows: Sequence[Window]) -> dict[str, Any]:
        shape = (len(windows), max(len(window.ids) for window in windows))
        feed = {name: np.empty(shape, np.int64) for name in self._inputs}
        fill(feed, windows)
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
