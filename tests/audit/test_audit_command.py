"""`interlock audit` as its user sees it: what it prints, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from interlock_server.audit.framing import log_path, sealed_path, texts_path
from interlock_server.audit.keys import key_id
from interlock_server.audit.reader import LogError
from interlock_server.audit.seal import seal
from interlock_server.audit.texts import TextKeeper
from interlock_server.audit_command import audit_app
from interlock_server.errors import ConfigError
from typer.testing import CliRunner, Result

from audit.samples import EVERY_TEXT, feedback, verdict, verdict_id, verdicts, write_log

PAIR = (b"a prompt", b"a \x1b[31mcompletion\xff")
KEY = b"k" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    keeper = TextKeeper(KEY, "full", EVERY_TEXT)
    write_log(folder, verdicts(3), [feedback(2)], texts={verdict_id(2): PAIR}, keeper=keeper, key_id=key_id(KEY))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit_app, [str(argument) for argument in arguments])


def shown(*arguments: object) -> Any:
    result = run("show", *arguments)
    assert 0 == result.exit_code
    return json.loads(result.stdout)


def test_verify_of_a_whole_log_ends_with_0(folder: Path) -> None:
    """And prints the head, which is the next anchor."""
    result = run("verify", folder)
    assert 0 == result.exit_code
    assert "records  4 in 2 segments, from segment 1, line 1 to segment 2, line 2" == result.stdout.splitlines()[0]

    head = result.stdout.split()[-1]
    assert 0 == run("verify", folder, "--anchor", head).exit_code
    assert 1 == run("verify", folder, "--anchor", "11" * 32).exit_code


def test_verify_names_every_problem_and_ends_with_1(folder: Path) -> None:
    """By place, and without content."""
    path = log_path(folder, 1)
    path.write_bytes(path.read_bytes().replace(b"Screen", b"Scream"))
    result = run("verify", folder)

    assert 1 == result.exit_code
    lines = [line for line in result.stdout.splitlines() if line.startswith("problem")]
    assert [f"problem  segment 1, line {line}: does not fit the chain" for line in (2, 3, 4)] == lines


def test_verify_compares_texts_with_a_key(folder: Path, tmp_path: Path) -> None:
    """That it reads from a file, in hex."""
    key = tmp_path / "key"
    key.write_text(KEY.hex() + "\n")
    assert 0 == run("verify", folder, "--key", key).exit_code

    path = texts_path(folder, 1)
    path.write_bytes(path.read_bytes().replace(b"prompt", b"plumpt"))
    result = run("verify", folder, "--key", key)
    assert (1, True) == (result.exit_code, "has another hash" in result.stdout)
    assert "plumpt" not in result.output


@pytest.mark.parametrize("content", ["", "00" * 31, "not hex, but secret"])
def test_a_file_that_holds_no_key_is_refused(folder: Path, tmp_path: Path, content: str) -> None:
    """Without showing what it holds."""
    (tmp_path / "key").write_text(content)
    result = run("verify", folder, "--key", tmp_path / "key")

    assert isinstance(result.exception, ConfigError)
    assert f"--key: {tmp_path / 'key'}: must be 32 bytes in hex" == str(result.exception)


def test_seal_is_a_quiet_command(folder: Path) -> None:
    """As the server starts it; damage is said on stderr."""
    command = [sys.executable, "-m", "interlock_server", "audit", "seal", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("", "", True) == (done.stdout, done.stderr, sealed_path(folder, 1).exists())

    log_path(folder, 2).rename(log_path(folder, 3))
    log_path(folder, 2).write_bytes(b"nonsense\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, "interlock: not sealed: segment 2, line 1: is not a line of a log\n") == (done.returncode, done.stderr)


def test_list_shows_every_segment(folder: Path) -> None:
    """Open, closed or sealed, with as many lines."""
    before = run("list", folder).stdout
    list(seal(folder))
    after = run("list", folder).stdout

    assert [["1", "closed", "5"], ["2", "open", "2"]] == _rows(before)
    assert [["1", "sealed", "5"], ["2", "open", "2"]] == _rows(after)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:4]] for line in table.splitlines() if "│" in line]


def test_show_prints_a_verdict_and_its_feedback(folder: Path) -> None:
    """As JSON, and no text unless it is asked for."""
    found, reaction = shown(folder, verdict_id(2))

    assert (1, 3, "verdict", verdict_id(2)) == (
        found["segment"],
        found["line"],
        found["record"]["type"],
        found["record"]["verdict_id"],
    )
    assert "feedback" == reaction["record"]["type"]
    assert "text" not in found
    assert "prompt" not in found


def test_show_prints_the_text_when_it_is_asked_for(folder: Path) -> None:
    """Such that it does nothing to a terminal; or why there is none."""
    result = run("show", folder, verdict_id(2), "--text")

    assert "\x1b" not in result.stdout
    assert {"prompt": "a prompt", "completion": "a \x1b[31mcompletion\\xff"} == json.loads(result.stdout)[0]["text"]
    assert "NOT_KEPT" == shown(folder, verdict_id(1), "--text")[0]["text"]


def test_show_of_an_unknown_verdict_is_an_error(folder: Path) -> None:
    """That says which."""
    result = run("show", folder, verdict_id(9))

    assert isinstance(result.exception, LogError)
    assert verdict_id(9) in str(result.exception)


def test_erase_erases(folder: Path) -> None:
    """And the log is whole afterwards."""
    assert 0 == run("erase", folder, verdict_id(2)).exit_code

    assert "ERASED" == shown(folder, verdict_id(2), "--text")[0]["text"]
    assert 0 == run("verify", folder).exit_code


def test_new_keys_open_what_they_seal(tmp_path: Path) -> None:
    """Only their owner may read the private one, and none is ever overwritten."""
    file = tmp_path / "texts.key"
    assert 0 == run("new-keys", file).exit_code
    assert 0o600 == file.stat().st_mode & 0o777

    public_key = bytes.fromhex((tmp_path / "texts.key.pub").read_text())
    keeper = TextKeeper.sealing(KEY, public_key, EVERY_TEXT)
    write_log(tmp_path / "log", [verdict(2)], texts={verdict_id(2): PAIR}, keeper=keeper)
    opened = shown(tmp_path / "log", verdict_id(2), "--text", "--private-key", file)
    assert "a prompt" == opened[0]["text"]["prompt"]
    assert isinstance(run("new-keys", file).exception, ConfigError)


def test_a_folder_that_is_no_log_is_an_error(tmp_path: Path) -> None:
    """In every command."""
    for arguments in (["verify"], ["list"], ["show", "x"], ["erase", "x"]):
        result = run(arguments[0], tmp_path, *arguments[1:])
        assert isinstance(result.exception, LogError)
