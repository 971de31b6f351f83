"""What an operator may say about the models on a Triton server."""

from typing import Literal

from pydantic import Field

from interlock_server.strict import Settings


class ExportOptions(Settings):
    """How Triton runs every model, and what may wait there."""

    backend: Literal["onnxruntime", "python"]
    instances: int = Field(default=2, ge=1, le=256)
    """Of each model: on each GPU, or altogether on the CPU, where each takes one core. With one of them, the queue's limits
    make Triton 2.51 forget for half a second at a time that something waits; with two, almost never.
    """
    gpu: bool = False
    max_batch: int | None = Field(default=None, ge=1, le=64)
    """Windows in one run; by default as many as the backend `triton` sends in one call, where company changes no score."""
    queue_delay_us: int = Field(default=0, ge=0, le=1_000_000)
    """How long a request may wait for others to share its run. 0: a run takes what is waiting when an instance is free."""
    queue_size_max: int = Field(default=256, ge=0, le=65_536)
    """Requests that wait for one model; more are refused, which Interlock counts as OVERLOADED. 0: no limits on the queue."""
