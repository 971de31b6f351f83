"""What ops see of a fault: a metric that changes, a line in the log, a server that does not answer or has ended."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from faults.replica import Replica, Samples

EVERY_S = 0.4


@dataclass(frozen=True)
class Signal:
    """A metric, with the labels that matter; in `words`, a line of the log; or `down`."""

    metric: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    words: str = ""
    down: bool = False
    by: float = 0.0
    """More than so much."""
    fell: bool = False
    """Its rate was less than half of what it had been."""

    def __str__(self) -> str:
        if self.down:
            return "`up` 0: no scrape, or the process ended"
        if self.words:
            return f"log: {self.words}"
        inner = ", ".join(f'{name}="{value}"' for name, value in self.labels)
        name = f"{self.metric}{{{inner}}}" if inner else self.metric
        return f"`rate({name})` falls" if self.fell else f"`{name}`"


def metric(name: str, by: float = 0.0, **labels: str) -> Signal:
    """A change of its value."""
    return Signal(name, tuple(labels.items()), by=by)


def log(words: str) -> Signal:
    """A line with these words."""
    return Signal(words=words)


DOWN = Signal(down=True)


@dataclass
class Watch:
    """Looks at a server now and then: until `arm` to know what is normal, then, until `end`, for what is not."""

    replica: Replica
    signals: Sequence[Signal]
    changed: set[Signal] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._begun_s = time.monotonic()
        self._normal = self._read_all()

    def arm(self) -> None:
        """The fault is about to be injected."""
        took_s = time.monotonic() - self._begun_s
        first, self._normal = self._normal, self._read_all()
        self._rates = {signal: (self._normal[signal] - first[signal]) / took_s for signal in self.signals}
        self._last, self._last_s = self._normal, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)
        self._thread.start()

    def end(self) -> list[str]:
        """What was seen, in the order in which it was declared."""
        self.stop()
        return [str(signal) for signal in self.signals if signal in self.changed]

    def stop(self) -> None:
        """Looks no more."""
        self._over.set()
        self._thread.join()

    def _look_again(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        found, took_s = self._read_all(), time.monotonic() - self._last_s
        for signal, value in found.items():
            before = self._last.get(signal, math.nan)
            fell = value - before < self._rates[signal] * took_s / 2
            if fell if signal.fell else abs(value - self._normal[signal]) > signal.by:
                self.changed.add(signal)
        self._last, self._last_s = found, time.monotonic()

    def _read_all(self) -> dict[Signal, float]:
        """NaN, which differs from nothing, for a metric of a server that is not heard."""
        samples = self.replica.scrape()
        return {signal: self._read(signal, samples) for signal in self.signals}

    def _read(self, signal: Signal, samples: Samples | None) -> float:
        if signal.down:
            return float(samples is None)
        if signal.words:
            return self.replica.log.count(signal.words)
        wanted = set(signal.labels)
        found = (samples or {}).items()
        values = [value for (name, labels), value in found if name == signal.metric and wanted <= labels]
        return sum(values) if samples is not None else math.nan
