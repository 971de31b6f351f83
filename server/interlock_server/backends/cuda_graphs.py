"""A model's runs on a GPU, each shape recorded once as a CUDA graph and then replayed: one launch in the place of hundreds.

Buffers stay where they are, since a graph holds their addresses. Shapes, filling and slicing are as on any Device; only
CudaDevice knows CUDA.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interlock_server.backends.backend import Window
from interlock_server.backends.padding import Shape, Shapes, fill

WARM_RUNS = 3  # libraries choose kernels and take memory in the first ones, which cannot be recorded


class Graph(Protocol):
    """A recorded run."""

    def replay(self) -> None:
        """Runs it again, on what its buffers hold by now."""
        ...


@dataclass(frozen=True)
class Recorded:
    """The run of one shape and its buffers: `ids` hold every input, [inputs, size, length]; logits are [size, columns]."""

    ids_here: Tensor
    ids_there: Tensor
    logits_here: Tensor
    logits_there: Tensor
    graph: Graph


class Device(Protocol):
    """Memory, recording and replaying. One caller at a time."""

    def here(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of this machine that the device can reach by itself."""
        ...

    def there(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the device."""
        ...

    def record(self, work: Callable[[], None]) -> Graph:
        """Records what the work does on the device."""
        ...

    def run(self, recorded: Recorded) -> None:
        """Takes the ids there, replays, fetches the logits, and returns when they are here."""
        ...


class CudaDevice:
    """The first GPU, through a stream of its own. Its graphs share memory, which is safe as they run one after the other."""

    def __init__(self) -> None:
        self._device = torch.device("cuda", 0)
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def here(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, pin_memory=True)

    def there(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=self._device)

    def record(self, work: Callable[[], None]) -> Graph:
        torch.cuda.synchronize(self._device)  # the buffers are filled, on another stream
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_RUNS):
                work()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # What other threads do on the GPU meanwhile is no part of the recording, and must not fail it.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            work()
        return graph

    def run(self, recorded: Recorded) -> None:
        with torch.cuda.stream(self._stream):
            recorded.ids_there.copy_(recorded.ids_here, non_blocking=True)
            recorded.graph.replay()
            recorded.logits_here.copy_(recorded.logits_there, non_blocking=True)
            self._done.record(self._stream)
        self._done.synchronize()  # sleeps, without Python's lock


class Graphs:
    """A model that is on the device already, recorded on every `devices`, each of which serves one lane at a time."""

    def __init__(
        self, model: Any, names: Sequence[str], columns: int, shapes: Shapes, devices: Sequence[Device]
    ) -> None:
        self._shapes = shapes
        self._idle: SimpleQueue[_Set] = SimpleQueue()
        for device in devices:
            self._idle.put(_Set(model, names, columns, shapes, device))

    def batches(self, windows: Sequence[Window]) -> Iterator[tuple[Shape, list[int]]]:
        """The windows' places, as they are run together."""
        return self._shapes.batches(windows)

    def logits(self, shape: Shape, windows: Sequence[Window]) -> NDArray[np.float64]:
        """A row for each window."""
        graphs = self._idle.get()
        try:
            return graphs.logits(shape, windows)
        finally:
            self._idle.put(graphs)


class _Set:
    """Every shape, recorded on one device."""

    def __init__(self, model: Any, names: Sequence[str], columns: int, shapes: Shapes, device: Device) -> None:
        self._names = names
        self._device = device
        self._recorded = {shape: self._record(model, shape, columns) for shape in shapes.all()}

    def logits(self, shape: Shape, windows: Sequence[Window]) -> NDArray[np.float64]:
        recorded = self._recorded[shape]
        fill(dict(zip(self._names, recorded.ids_here.numpy(), strict=True)), windows)
        with torch.inference_mode():
            self._device.run(recorded)
        return recorded.logits_here.numpy()[: len(windows)].astype(np.float64)

    def _record(self, model: Any, shape: Shape, columns: int) -> Recorded:
        ids_here = self._device.here((len(self._names), *shape), torch.int64)
        ids_there = self._device.there(ids_here.shape, torch.int64)
        logits_there = self._device.there((shape.size, columns), torch.float32)
        inputs = dict(zip(self._names, ids_there, strict=True))

        def work() -> None:
            logits_there.copy_(model(**inputs).logits)

        # Padding in every row, as the first run in earnest may have it: without any, some models take another way.
        fill(dict(zip(self._names, ids_here.numpy(), strict=True)), [])
        with torch.inference_mode():
            ids_there.copy_(ids_here)
            graph = self._device.record(work)
        return Recorded(ids_here, ids_there, self._device.here(logits_there.shape, torch.float32), logits_there, graph)
