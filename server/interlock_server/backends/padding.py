"""How windows of near-equal length become one input of a shape that a GPU has seen before. Arithmetic; no model runs here.

A GPU wants few shapes: lengths go up in steps, batch sizes in powers of two, and what is left over is masked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Ids, Window

LENGTH_STEP = 32
"""Lengths are multiples of it; past 256 the step is a quarter to an eighth of the length, so that long ones stay few."""
SIZE_MAX = 64
SPREAD_MAX = 1.25


class Shape(NamedTuple):
    """Of a padded input: how many windows, of how many tokens."""

    size: int
    length: int


class Shapes:
    """Every shape that a member runs in: at most `batch_tokens_max` tokens each, though at least one window."""

    def __init__(self, tokens_max: int, batch_tokens_max: int, size_max: int = SIZE_MAX) -> None:
        self.lengths = _lengths(tokens_max)
        self.rule = BatchRule(size_max, batch_tokens_max, SPREAD_MAX)

    def all(self) -> list[Shape]:
        """The largest first, so that memory that one needed does for the next."""
        found = [Shape(1 << power, n) for n in self.lengths for power in range(self._size_max(n).bit_length())]
        return sorted(found, key=lambda shape: (shape.size * shape.length, shape.length), reverse=True)

    def fitting(self, size: int, length: int) -> Shape:
        """The smallest shape that holds so many windows of such a length."""
        padded = next((n for n in self.lengths if n >= length), 0)
        if not padded or not 1 <= size <= self._size_max(padded):
            raise ValueError("no shape holds these windows")
        return Shape(1 << (size - 1).bit_length(), padded)

    def batches(self, windows: Sequence[Window]) -> Iterator[tuple[Shape, list[int]]]:
        """The windows' places in batches of near-equal length, the longest first, each with its shape."""
        order = sorted(range(len(windows)), key=lambda place: len(windows[place].ids), reverse=True)
        while order:
            longest = len(windows[order[0]].ids)
            room = self._size_max(self.fitting(1, longest).length)
            batch = [p for p in order[:room] if len(windows[p].ids) * self.rule.spread_max >= longest]
            yield self.fitting(len(batch), longest), batch
            order = order[len(batch) :]

    def _size_max(self, length: int) -> int:
        """A power of two."""
        return power_of_two(min(self.rule.size_max, self.rule.tokens_max // length))


def fill(inputs: Mapping[str, Ids], windows: Sequence[Window]) -> None:
    """Writes windows, their mask and their types into buffers [size, length], over whatever was there.

    Rows without a window show the model one token: attention over nothing would be a division by zero.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    for buffer in inputs.values():
        buffer[...] = 0
    mask[len(windows) :, 0] = 1
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = window.ids
        mask[row, : len(window.ids)] = 1
        if "token_type_ids" in inputs and window.context_size:  # a single text is of type 0 throughout
            inputs["token_type_ids"][row, window.context_size : len(window.ids)] = 1


def in_order(rows: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The rows of all batches, by their windows' places."""
    return np.stack([rows[place] for place in range(len(rows))])


def power_of_two(number: int) -> int:
    """The largest that is not above the number; at least 1."""
    return 1 << (max(number, 1).bit_length() - 1)


def _lengths(tokens_max: int) -> list[int]:
    lengths = [min(LENGTH_STEP, tokens_max)]
    while lengths[-1] < tokens_max:
        step = max(LENGTH_STEP, power_of_two(lengths[-1]) // 4)
        lengths.append(min(lengths[-1] + step, tokens_max))
    return lengths
