"""Files that change: what is good is taken, what is bad changes nothing and is said."""

import json
import logging
from pathlib import Path

import pytest
from interlock_server.access.watched import Watched
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics


class Numbers:
    """A watched file with a number in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "number"
        self.metrics = Metrics()
        self.reads = 0
        self.write("1")
        self.watched = Watched("number", [self.path], self._load, self.metrics)

    def _load(self) -> int:
        self.reads += 1
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            raise ConfigError("number: is none") from None

    def write(self, text: str) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.path)

    def look(self) -> tuple[int, float | None]:
        """What is in force, and whether it is what is in the file."""
        self.watched.look()
        healthy = self.metrics.registry.get_sample_value("interlock_watched_file_healthy", {"file": "number"})
        return self.watched.current, healthy


def test_a_change_is_taken(tmp_path: Path):
    """At the next look."""
    numbers = Numbers(tmp_path)
    numbers.write("2")

    assert (2, 1.0) == numbers.look()


def test_a_bad_file_changes_nothing_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """As a metric and as an alarm in the log."""
    numbers = Numbers(tmp_path)
    numbers.write("two")
    with caplog.at_level(logging.ERROR, "interlock"):
        seen = numbers.look()

    assert (1, 0.0) == seen
    assert ["file_refused"] == [record.getMessage() for record in caplog.records]
    assert {"file": "number", "why": "number: is none"} == json.loads(json.dumps(caplog.records[0].fields))  # type: ignore[attr-defined]


def test_an_error_that_nobody_thought_of_changes_nothing_either(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """And what it says of the file is not said on."""
    numbers = Numbers(tmp_path)
    numbers.write("2")
    numbers.watched._load = lambda: [2][1]
    with caplog.at_level(logging.ERROR, "interlock"):
        seen = numbers.look()

    assert (1, 0.0, "IndexError") == (*seen, caplog.records[0].fields["why"])  # type: ignore[attr-defined]


def test_a_mended_file_is_taken(tmp_path: Path):
    """Without a restart."""
    numbers = Numbers(tmp_path)
    numbers.write("two")
    numbers.look()
    numbers.write("2")

    assert (2, 1.0) == numbers.look()


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path):
    """It may come back."""
    numbers = Numbers(tmp_path)
    numbers.path.unlink()

    assert (1, 0.0) == numbers.look()


def test_what_does_not_change_is_not_read(tmp_path: Path):
    """Neither when it is good nor when it is bad."""
    numbers = Numbers(tmp_path)
    numbers.look()
    numbers.write("two")
    numbers.look()
    numbers.look()

    assert 2 == numbers.reads


def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path):
    """There is nothing to go on with."""
    with pytest.raises(ConfigError):
        Watched("number", [tmp_path / "none"], lambda: Numbers(tmp_path) and _refuse(), Metrics())


def _refuse() -> int:
    raise ConfigError("number: is none")
