"""The settings of the engine."""

import os

from pydantic import Field

from interlock_server.strict import Settings


class InferenceSettings(Settings):
    """Limits on waiting work, and what to do with members that fail."""

    lanes: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 8) + 1, ge=1, le=256)
    """Threads that run models on the CPU: one more than cores, since one or another always waits for its turn in Python."""
    device_lanes: int = Field(default=2, ge=1, le=16)
    """Threads for each GPU: while one waits for it, the other prepares the next batch."""
    lane_niceness: int = Field(default=10, ge=0, le=19)
    """How much the lanes yield to the thread that answers callers (Linux only)."""
    queue_size_max: int = Field(default=512, ge=1, le=100_000)
    admission_share: float = Field(default=0.7, gt=0, le=1)
    """Work is begun only if it is predicted to be done within this share of the time left."""
    age_max_ms: int = Field(default=250, ge=1, le=60_000)
    """Whoever has waited that long goes before everybody who comes later, whatever their deadlines."""
    reply_reserve_ms: int = Field(default=15, ge=0, le=1_000)
    hang_grace_ms: int = Field(default=1_000, ge=10, le=60_000)
    """A model run that is this late is stopped, and its lane replaced."""
    lanes_lost_max: int = Field(default=16, ge=0, le=1_000)
    """When more lanes than this hang at once, the process cannot heal and exits to be restarted."""
    breaker_failures: int = Field(default=3, ge=1, le=1_000)
    breaker_open_ms: int = Field(default=1_000, ge=10, le=600_000)
    cache_entries_max: int = Field(default=0, ge=0, le=1_000_000)
    """How many exchanges' scores are kept, for when they come again; 0 keeps none."""
    cache_across_callers: bool = False
    """Lets a caller find what another one asked for: faster, but its timing tells that somebody did."""
