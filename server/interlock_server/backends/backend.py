"""What every backend is: it cuts an exchange into windows, scores windows, and closes. It never decides anything.

Backends may return whatever a broken model returns; inference/ checks it. They raise BackendError on construction only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interlock_server.text.exchange import Exchange

Ids = NDArray[np.int64]
Span = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A piece of one view, ready for the model. Windows with equal `key` get equal scores and are scored once."""

    ids: Ids
    view: str
    span: Span
    """Bytes of the completion that it stands for."""
    context_size: int = 0
    """How many of the leading ids belong to the prompt, with its special tokens; 0 when no prompt is shown."""

    @property
    def key(self) -> bytes:
        """What the model sees, as bytes."""
        return self.ids.tobytes()


@dataclass(frozen=True)
class Reading:
    """All windows of one exchange for one member, and the bytes of the prompt that they show."""

    windows: Sequence[Window]
    prompt_spans: tuple[Span, ...] = ()
    input_tokens: int = 0
    """Tokens of the completion as it stands and of the prompt as far as it is shown; 0 for members without a tokenizer."""


class Run:
    """A handle on one model run: whoever waits for it may ask it to stop, from another thread."""

    def __init__(self) -> None:
        self.stopped = False
        self._stop: Callable[[], None] | None = None

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Registers how the backend stops this run; called at once if it was stopped before."""
        self._stop = stop
        if self.stopped:
            stop()

    def stop(self) -> None:
        """Asks the run to end early; its scores are not used any more."""
        self.stopped = True
        if self._stop is not None:
            self._stop()


class Backend(Protocol):
    """One model, loaded. Methods are called from several threads at once."""

    provider: str
    """Where it really runs, such as CPUExecutionProvider."""

    def read(self, exchange: Exchange) -> Reading:
        """Cuts every view of the exchange into windows; the windows of the raw view cover the whole completion."""
        ...

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """P(harm) per window and covered category, shape [len(windows), categories]."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


def logistic(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(logits / 2))
    return result
