"""What the command line offers those who guard: tokens, and a way to ask a guarded server."""

import asyncio
import json
from pathlib import Path

import pytest
from fakes import BENIGN
from interlock_server.access.file import read_callers
from interlock_server.cli import app
from interlock_server.errors import ConfigError
from interlock_server.transport.settings import TlsSettings
from typer.testing import CliRunner

from .certificates import Authority
from .edge import TOKEN, Edge, caller, write_callers


def test_a_new_token_is_printed_once_with_what_the_server_keeps(tmp_path: Path):
    """The token alone on stdout, so that it can be sent where it belongs; never the same twice."""
    first, second = (CliRunner().invoke(app, ["token", "new"]) for _ in range(2))
    digest = first.stderr.split("[")[1].split("]")[0]
    known = read_callers(write_callers(tmp_path, [{"name": "a", "token_sha256": [digest], "scopes": ["screen"]}]))

    assert first.stdout != second.stdout
    assert "ilk_" == first.stdout[:4]
    assert first.stdout.strip() not in first.stderr
    assert [digest] == [kept for kept, _ in known.by_digest]


async def test_a_guarded_server_can_be_asked(tmp_path: Path):
    """With its authority and a token, both from files."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    (tmp_path / "token").write_text(TOKEN)
    tls = TlsSettings(certificate_file=str(certificate), key_file=str(key))
    async with Edge(tmp_path, [caller()], tls) as edge:
        target = f"localhost:{edge.server.port}"
        asked = ["screen", "--target", target, "--completion", BENIGN, "--json", "--ca", str(authority.root)]
        known = await asyncio.to_thread(CliRunner().invoke, app, [*asked, "--token-file", str(tmp_path / "token")])
        unknown = await asyncio.to_thread(CliRunner().invoke, app, asked)

    assert (0, "RELEASE") == (known.exit_code, json.loads(known.stdout)["decision"])
    assert 3 == unknown.exit_code


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path):
    """To another machine, that is."""
    (tmp_path / "token").write_text(TOKEN)
    asked = ["screen", "--target", "10.0.0.1:1", "--completion", "a", "--token-file", str(tmp_path / "token")]

    with pytest.raises(ConfigError, match="give tls too"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
