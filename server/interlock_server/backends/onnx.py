"""Members that run on ONNX Runtime. A provider that is not the one asked for is refused, never fallen back from."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from interlock_server.backends.backend import Reading, Run, Window, logistic
from interlock_server.backends.cutting import Tokens, exchange_windows, sentence_windows, views_to_read
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

Frame = tuple[int, ...]


class OnnxBackend:
    """A classifier with inputs `input_ids`, `attention_mask` (and `token_type_ids`) and an output `logits` [n, categories].

    Raises BackendError when the model cannot be loaded, has other inputs, or runs on another provider than `provider`.
    """

    def __init__(
        self, member: MemberManifest, files: Mapping[str, Path], provider: str = "CPUExecutionProvider"
    ) -> None:
        self._reads = member.reads
        self._session = _session(files["model"], provider, member.name)
        self.provider = str(self._session.get_providers()[0])
        if self.provider != provider:
            raise BackendError(f"member {member.name}: asked for {provider}, got {self.provider}")
        self._inputs = {item.name for item in self._session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= self._inputs <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise BackendError(f"member {member.name}: the model's inputs are {sorted(self._inputs)}")
        self._tokens = _tokens(files["tokenizer"], member.name)

    def read(self, exchange: Exchange) -> Reading:
        """Windows of (prompt, piece), or single sentences, as the manifest says."""
        views = views_to_read(exchange, self._reads.views, self._reads.uncased)
        if self._reads.input == "sentences":
            return sentence_windows(exchange, views, self._tokens, self._reads.tokens_max)
        limits = (self._reads.tokens_max, self._reads.prompt_tokens_max)
        return exchange_windows(exchange, views, self._tokens, *limits)

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


def _session(path: Path, provider: str, member: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # lanes are the parallelism; with more, sessions fight for the cores
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors reach us as exceptions; their messages would quote ids, hence text
    if provider not in onnxruntime.get_available_providers():
        raise BackendError(f"member {member}: this onnxruntime has no {provider}")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise BackendError(f"member {member}: {path.name} does not load: {type(error).__name__}") from error


def _tokens(path: Path, member: str) -> Tokens:
    try:
        tokens = _tokenizer(path.read_bytes())
    except Exception as error:  # tokenizers raises bare Exception
        raise BackendError(f"member {member}: {path.name} is not a tokenizer") from error
    if tokens is None:
        raise BackendError(f"member {member}: {path.name} has no [CLS] or [SEP]")
    return tokens


@lru_cache(maxsize=16)
def _tokenizer(content: bytes) -> Tokens | None:
    """One tokenizer for all members that have the same file, so that they can share what it reads."""
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frame = _frame(tokenizer)
    if not any(frame):
        return None
    # encode_batch on one text scales over threads, where encode does not.
    return Tokens(lambda text: tokenizer.encode_batch([text], add_special_tokens=False)[0], *frame)


def _frame(tokenizer: Tokenizer) -> tuple[Frame, Frame, Frame]:
    """What stands before, between and after two texts, as the post-processor says; without one, [CLS] and [SEP]."""
    pair = tokenizer.encode("a", "b")
    places: dict[int, list[int]] = {0: [], 1: [], 2: []}
    place = 0
    for token, text in zip(pair.ids, pair.sequence_ids, strict=True):
        if text is None:
            places[place].append(token)
        else:
            place = text + 1
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if not any(places.values()) and cls is not None and sep is not None:
        return (cls,), (sep,), (sep,)
    return tuple(places[0]), tuple(places[1]), tuple(places[2])
