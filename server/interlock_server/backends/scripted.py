"""A member that does as it is told: it scores by phrases and fails on command. For drills, demos and tests of the service.

The script is a JSON file that is read again whenever it changes, so that a running server can be made to misbehave:
`{"mode": "ok" | "crash" | "hang" | "nan" | "slow", "seconds": 0, "default": 0.01, "phrases": {"stab": 0.99}}`.
Further modes are the kinds of nonsense in NONSENSE.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import BatchRule, Reading, Run, Window
from interlock_server.backends.cutting import views_to_read
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange
from interlock_server.text.views import View

Scores = NDArray[np.float64]
NONSENSE: Mapping[str, Callable[[Scores], Scores]] = {
    "nan": lambda scores: np.full_like(scores, math.nan),
    "infinite": lambda scores: np.full_like(scores, -math.inf),
    "out_of_range": lambda scores: scores - 5,
    "wrong_shape": lambda scores: scores[:, 1:],
    "too_few_rows": lambda scores: scores[1:],
}
"""What a broken model makes of its scores."""
MODES = ("ok", "crash", "hang", "slow", *NONSENSE)


class ScriptedBackend:
    """Scores a whole view by the worst phrase that it contains; raises BackendError when the script is not one."""

    provider = "script"
    lane = "cpu"
    batching = BatchRule()

    def __init__(self, member: MemberManifest, files: Mapping[str, Path]) -> None:
        self._name = member.name
        self._reads = member.reads
        self._categories = len(member.categories)
        self._path = files["model"]
        self._known: tuple[tuple[int, int], dict[str, object]] = ((0, 0), {})
        self._read_script()

    def read(self, exchange: Exchange) -> Reading:
        """One window per view; its ids are the characters, lower case for a member that does not see case."""
        uncased = self._reads.uncased
        views = views_to_read(exchange, self._reads.views, uncased)
        return Reading([_window(v, v.text.lower() if uncased else v.text) for v in views])

    def score(self, windows: Sequence[Window], run: Run) -> Scores:
        """The scripted score in every category, or the scripted failure."""
        script = self._read_script()
        mode = script.get("mode", "ok")
        if mode == "crash":
            raise RuntimeError(f"scripted crash at {_text(windows[0])!r}")  # as real ones do; nobody may print it
        seconds = math.inf if mode == "hang" else float(str(script.get("seconds", 0))) if mode == "slow" else 0.0
        self._wait(seconds, run)
        scores = np.array([[self._score(window, script)] * self._categories for window in windows])
        return NONSENSE[str(mode)](scores) if mode in NONSENSE else scores

    def close(self) -> None:
        """Nothing to free."""

    def _wait(self, seconds: float, run: Run) -> None:
        """Sleeps; a hang ignores being stopped, as the worst models do, and ends only when the script changes."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(0.01)
            if math.isinf(seconds) and self._read_script().get("mode") != "hang":
                return
            if not math.isinf(seconds) and run.stopped:
                return

    def _score(self, window: Window, script: dict[str, object]) -> float:
        text = _text(window)
        phrases = script.get("phrases", {})
        assert isinstance(phrases, dict)
        found = [float(score) for phrase, score in phrases.items() if phrase in text]
        return max(found, default=float(str(script.get("default", 0.01))))

    def _read_script(self) -> dict[str, object]:
        try:
            found = self._path.stat()
            state, (known, script) = (found.st_mtime_ns, found.st_ino), self._known
            if state == known:
                return script
            script = json.loads(self._path.read_text())
        except (OSError, ValueError) as error:
            raise BackendError(f"member {self._name}: {self._path.name} is not a script") from error
        if not isinstance(script, dict) or script.get("mode", "ok") not in MODES:
            raise BackendError(f"member {self._name}: {self._path.name}: mode must be one of {', '.join(MODES)}")
        self._known = state, script
        return script


def _window(view: View, looks: str) -> Window:
    return Window(np.array([ord(ch) for ch in looks], dtype=np.int64), view.name, view.byte_span(0, len(view.text)))


def _text(window: Window) -> str:
    return "".join(map(chr, window.ids))
