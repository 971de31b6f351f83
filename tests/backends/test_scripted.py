"""The scripted backend: it fails on command, or the drills that use it prove nothing."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import BENIGN, HARMFUL, script
from interlock_server.backends.backend import Backend, Run
from interlock_server.backends.scripted import ScriptedBackend
from interlock_server.errors import BackendError
from interlock_server.text.exchange import Exchange

from .cases import manifest, scripted

MARKER = "xyzzy-marker"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return scripted(tmp_path).backend


def score(backend: Backend, text: str, run: Run | None = None) -> np.ndarray:
    return backend.score(backend.read(Exchange("", text)).windows, run or Run())


def test_phrases_have_their_scores(backend: Backend):
    """And everything else the default."""
    assert [0.01, 0.99] == [score(backend, text)[0, 0] for text in (BENIGN, HARMFUL)]


def test_a_script_that_changes_is_followed(backend: Backend, tmp_path: Path):
    """Also by a member that is loaded."""
    script(tmp_path, "tester", default=0.5)

    assert 0.5 == score(backend, BENIGN)[0, 0]


def test_it_crashes_on_command_and_quotes_the_text(backend: Backend, tmp_path: Path):
    """As the worst models do, so that whoever prints what it raises is caught."""
    script(tmp_path, "tester", mode="crash")
    with pytest.raises(RuntimeError, match=MARKER):
        score(backend, MARKER)


def test_it_returns_nan_on_command(backend: Backend, tmp_path: Path):
    """A number that is none."""
    script(tmp_path, "tester", mode="nan")

    assert np.all(np.isnan(score(backend, BENIGN)))


def test_it_is_slow_on_command(backend: Backend, tmp_path: Path):
    """By so many seconds, and right in the end."""
    script(tmp_path, "tester", mode="slow", seconds=0.05)
    begun_s = time.monotonic()

    assert 0.01 == score(backend, BENIGN)[0, 0]
    assert time.monotonic() - begun_s >= 0.05


def test_a_slow_run_can_be_stopped(backend: Backend, tmp_path: Path):
    """It does not sleep on."""
    script(tmp_path, "tester", mode="slow", seconds=1000)
    run = Run()
    threading.Timer(0.05, run.stop).start()
    begun_s = time.monotonic()
    score(backend, BENIGN, run)

    assert time.monotonic() - begun_s < 30


def test_a_hang_ends_only_with_its_script(backend: Backend, tmp_path: Path):
    """It ignores being stopped."""
    script(tmp_path, "tester", mode="hang")
    run = Run()
    run.stop()
    thread = threading.Thread(target=score, args=(backend, BENIGN, run), daemon=True)
    thread.start()
    thread.join(0.1)

    assert thread.is_alive()
    script(tmp_path, "tester")
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("content", ["", MARKER, "[]", '{"mode": "xyzzy-marker"}'])
def test_a_broken_script_is_refused(tmp_path: Path, content: str):
    """The message names the member and the file, and quotes nothing."""
    (tmp_path / "tester.json").write_text(content)
    with pytest.raises(BackendError, match=r"^member tester: tester\.json") as caught:
        ScriptedBackend(manifest("scripted"), {"model": tmp_path / "tester.json"})

    assert MARKER not in str(caught.value)
