"""The command line as its user sees it: what it prints, and the exit code. Models are scripted, except where said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import BENIGN, HARMFUL, write_bundle
from interlock_server.cli import app
from interlock_server.errors import BundleError, ConfigError
from typer.testing import CliRunner, Result

KEYS = {"id", "decision", "action", "reasons", "margin", "disagreement", "scores", "missing", "digests"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    digest = write_bundle(tmp_path / "bundle")
    path = tmp_path / "config.yaml"
    path.write_text(f"bundle:\n  path: {tmp_path / 'bundle'}\n  digest: {digest}\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_screen_releases_with_exit_code_0(config: Path) -> None:
    """A benign completion is released."""
    result = run("screen", "--config", config, "--local", "--completion", BENIGN)

    assert 0 == result.exit_code
    assert "RELEASE" in result.stdout


def test_screen_withholds_with_exit_code_3(config: Path) -> None:
    """A harmful completion is withheld, and the table says why."""
    result = run("screen", "--config", config, "--completion", HARMFUL)

    assert 3 == result.exit_code
    assert "WITHHOLD" in result.stdout
    assert "HARMFUL" in result.stdout


def test_screen_prints_json(config: Path) -> None:
    """JSON has the documented keys and nothing else on stdout."""
    result = run("screen", "--config", config, "--json", "--completion", HARMFUL)

    verdict = json.loads(result.stdout)
    assert KEYS - {"id"} == set(verdict)
    assert 0.99 == verdict["scores"]["alpha"]["violence_injury"]


def test_screen_refuses_unclear_options(config: Path) -> None:
    """Neither or both of a completion and a file is a mistake, not a guess."""
    assert isinstance(run("screen", "--config", config).exception, ConfigError)
    assert isinstance(run("screen", "--completion", "x", "--file", "y").exception, ConfigError)


def test_screen_names_unknown_profiles(config: Path) -> None:
    """An unknown profile is an error that lists those that there are."""
    result = run("screen", "--config", config, "--profile", "lax", "--completion", BENIGN)

    assert "--profile: the policy has balanced" == str(result.exception)


def test_screen_file_keeps_the_order(config: Path, tmp_path: Path) -> None:
    """Every line gets a verdict, in order, with the documented keys."""
    rows = [{"id": n, "prompt": "", "completion": HARMFUL if n % 3 == 0 else BENIGN} for n in range(30)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = run(
        "screen", "--config", config, "--local", "--file", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl"
    )

    verdicts = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert 0 == result.exit_code
    assert [(n, "WITHHOLD" if n % 3 == 0 else "RELEASE") for n in range(30)] == [
        (v["id"], v["decision"]) for v in verdicts
    ]
    assert all(set(verdict) == KEYS for verdict in verdicts)


def test_screen_file_withholds_what_is_no_exchange(config: Path, tmp_path: Path) -> None:
    """A broken line is withheld and counted in the exit code; the lines around it are judged."""
    lines = [
        '{"id": 1, "completion": "Tea."}',
        "not json",
        '{"id": 3, "completion": "\\ud800"}',
        '{"id": 4, "completion": 5}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))

    result = run("screen", "--config", config, "--file", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl")

    verdicts = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert 1 == result.exit_code
    assert ["RELEASE", "WITHHOLD", "WITHHOLD", "WITHHOLD"] == [verdict["decision"] for verdict in verdicts]
    assert [1, None, 3, None] == [verdict["id"] for verdict in verdicts]


def test_screen_file_that_is_not_there(config: Path, tmp_path: Path) -> None:
    """A missing file is an error that names it."""
    result = run("screen", "--config", config, "--file", tmp_path / "absent", "--out", tmp_path / "out.jsonl")

    assert "absent" in str(result.exception)


def test_screen_without_a_server_withholds(config: Path) -> None:
    """A server that cannot be reached is a withheld verdict, exit code 3, with the client's own reason."""
    result = run("screen", "--target", "127.0.0.1:1", "--completion", BENIGN)

    assert 3 == result.exit_code
    assert "UNREACHABLE" in result.stdout


def test_check_config_describes_what_would_run(config: Path) -> None:
    """The digests, profiles and members that the configuration names."""
    result = run("check-config", "--config", config)

    assert 0 == result.exit_code
    assert "alpha, beta, gamma" in result.stdout


def test_check_config_names_a_misspelt_key(config: Path) -> None:
    """An unknown key is an error that names file and key."""
    config.write_text(config.read_text() + "infrence: {}\n")

    assert "config.yaml: infrence: there is no such setting" == str(run("check-config", "--config", config).exception)


def test_bundle_verify_prints_the_digest(bundle: Path) -> None:
    """A sound bundle is run against its golden exchanges, and its digest printed."""
    result = run("bundle", "verify", bundle)

    assert 0 == result.exit_code
    assert result.stdout.startswith("sha256:")


def test_bundle_verify_finds_a_flipped_byte(bundle: Path) -> None:
    """One changed byte is found, and the file named."""
    content = bytearray((bundle / "golden.jsonl").read_bytes())
    content[40] ^= 1
    (bundle / "golden.jsonl").write_bytes(content)

    result = run("bundle", "verify", bundle)
    assert isinstance(result.exception, BundleError)
    assert "golden.jsonl" in str(result.exception)


def test_the_operator_sees_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """What the operator can mend is a line on stderr, not a traceback."""
    command = [sys.executable, "-m", "interlock_server", "bundle", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert f"interlock: {tmp_path}: has no manifest.json\n" == done.stderr


def test_version() -> None:
    """The version of the distribution."""
    assert "interlock 0.1.0\n" == run("version").stdout


def test_check_config_says_what_is_certified(tmp_path: Path) -> None:
    """The state, and each profile's bounds in words."""
    digest = write_bundle(tmp_path / "bundle", certified={})
    (tmp_path / "config.yaml").write_text(f"bundle:\n  path: {tmp_path / 'bundle'}\n  digest: {digest}\n")
    result = run("check-config", "--config", tmp_path / "config.yaml")

    assert "certificate VALID" in result.stdout
    assert "violence_injury 4 % (170 clusters of written)" in result.stdout


def test_bundle_verify_says_that_nothing_is_certified(bundle: Path) -> None:
    """In so many words."""
    result = run("bundle", "verify", bundle, "--no-run")

    assert "certificate NONE" in result.stdout
    assert "nothing is claimed" in result.stdout
