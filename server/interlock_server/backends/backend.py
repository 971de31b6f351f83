"""What every backend is: it cuts an exchange into windows, scores windows, and closes. It never decides anything.

Backends may return whatever a broken model returns; inference/ checks it. They raise BackendError when they are made, or
connected; a call that gives no scores raises ScoreError, or whatever the model raises.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

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

    @cached_property
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


@dataclass(frozen=True)
class BatchRule:
    """Which windows may be scored in one call. The default is one at a time, which on a CPU is the fastest way."""

    size_max: int = 1
    tokens_max: int = 1 << 30
    """After padding: the number of windows times the length of the longest."""
    spread_max: float = 1.0
    """How much longer the longest window may be than the shortest; 1 is equal lengths only."""


class ScoreError(Exception):
    """A call gave no scores, and the backend knows why; `cause` is the name of a MissingCause."""

    def __init__(self, cause: Literal["TIMED_OUT", "FAILED", "INVALID", "OVERLOADED"], lost: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.lost = lost
        """The model may not be the same any more: it is to be connected and checked again before it is asked."""


class Backend(Protocol):
    """One model, loaded into this process. Methods are called from several threads at once."""

    provider: str
    """Where it really runs, such as CPUExecutionProvider."""
    lane: str
    """Which lanes run it: "cpu", or a device with lanes of its own, such as "cuda:0"."""
    batching: BatchRule

    def read(self, exchange: Exchange) -> Reading:
        """Cuts every view of the exchange into windows; the windows of the raw view cover the whole completion."""
        ...

    def score(self, windows: Sequence[Window], run: Run) -> NDArray[np.float64]:
        """P(harm) per window and covered category, shape [len(windows), categories]."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


RemoteScore = Callable[[Sequence[Window]], Awaitable[NDArray[np.float64]]]
Check = Callable[[RemoteScore], Awaitable[None]]
"""Asks a model for scores, and raises when it is not the one that is expected."""


class RemoteBackend(Protocol):
    """One model on another machine. All methods but `read` belong to the event loop that called `connect`."""

    provider: str
    lane: str
    """Always "remote"."""
    batching: BatchRule
    slots: int
    """How many calls may be under way at once."""

    def read(self, exchange: Exchange) -> Reading:
        """As of a Backend; called from several threads at once."""
        ...

    async def connect(self, check: Check) -> None:
        """Makes sure that the model is there, takes and gives what is expected, and passes `check`; raises BackendError.

        Whoever is asked later in its stead, or comes back, has to pass as well before it is asked.
        """
        ...

    async def score(self, windows: Sequence[Window], deadline_s: float) -> NDArray[np.float64]:
        """As of a Backend, until `deadline_s` (monotonic clock); being cancelled also ends the work at the server.

        Raises ScoreError.
        """
        ...

    async def close(self) -> None:
        """Hangs up."""
        ...


def logistic(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow; not a number where the logit is infinite, which no sound model gives."""
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(logits / 2))
    result[np.isinf(logits)] = np.nan
    return result
