"""`interlock drift` as an operator sees it: what it says, what it writes, and the exit code."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from audit.samples import verdicts, write_log
from fakes import write_bundle
from interlock_server.cli import app
from interlock_server.drift_files import Latch, StateFile, read_state, write
from interlock_server.errors import ConfigError
from typer.testing import CliRunner, Result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """With a state, and nothing else of drift."""
    digest = write_bundle(tmp_path / "bundle")
    path = tmp_path / "config.yaml"
    state = tmp_path / "state.json"
    path.write_text(f"bundle: {{path: {tmp_path / 'bundle'}, digest: '{digest}'}}\ndrift: {{state: {state}}}\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["drift", *map(str, arguments)])


def test_clear_makes_the_state_and_keeps_who_said_so(config: Path):
    """For a server that was latched, or never ran."""
    result = run("clear", "--by", "ann", "--config", config)

    assert 0 == result.exit_code
    assert "ann" == read_state(config.parent / "state.json").cleared.by  # type: ignore[union-attr]


def test_status_says_whether_the_service_is_conservative(config: Path):
    """In its exit code too."""
    run("clear", "--by", "ann", "--config", config)
    quiet = run("status", "--config", config)
    write(config.parent / "state.json", StateFile(latched=Latch(at=datetime.now(UTC), why="a test")))
    latched = run("status", "--config", config)

    assert (0, 1) == (quiet.exit_code, latched.exit_code)
    assert "a test" in latched.stdout


def test_status_refuses_a_state_that_is_not_there(config: Path):
    """As the server would."""
    result = run("status", "--config", config)

    assert isinstance(result.exception, ConfigError)


def test_attest_refuses_a_window_that_is_too_small(config: Path, tmp_path: Path):
    """And writes nothing."""
    write_log(tmp_path / "log", verdicts(5))
    result = run("attest", tmp_path / "log", "--by", "ann", "--out", tmp_path / "out.json", "--config", config)

    assert "1000 are needed" in str(result.exception)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("attest", "LOG", "--by", "ann", "--out", "out.yaml"), "--out"),
        (("refute-check", "LOG", "--queue", "queue"), "drift.refutation"),
    ],
)
def test_what_cannot_be_done_is_said(config: Path, arguments: tuple[str, ...], message: str):
    """Before any log is read."""
    result = run(*arguments, "--config", config)

    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(message)
