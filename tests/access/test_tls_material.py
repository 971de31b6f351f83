"""Certificates are looked at before they are used: each mistake has its own words."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from interlock_server.errors import ConfigError
from interlock_server.transport.settings import TlsSettings
from interlock_server.transport.tls import load_material

from .certificates import DAY, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that everybody trusts."""
    return Authority(tmp_path)


def settings(certificate: Path, key: Path, client_ca: Path | None = None) -> TlsSettings:
    """As configured."""
    ca = str(client_ca) if client_ca else None
    return TlsSettings(certificate_file=str(certificate), key_file=str(key), client_ca_file=ca)


@pytest.mark.parametrize("key", [ec.SECP256R1(), ec.SECP384R1(), 2048])
def test_keys_that_callers_accept_are_taken(authority: Authority, key: Any):
    """RSA of some length, and two curves."""
    made = rsa.generate_private_key(65537, key) if isinstance(key, int) else ec.generate_private_key(key)

    assert load_material(settings(*authority.issue(key=made))).expires


MISTAKES: dict[str, dict[str, Any]] = {
    "RSA of 1024 bits": {"key": lambda: rsa.generate_private_key(65537, 1024)},
    "P-256 or P-384": {"key": lambda: ec.generate_private_key(ec.SECP224R1())},
    "must be RSA": {"key": ed25519.Ed25519PrivateKey.generate},
    "ended on": {"begins_in": -2 * DAY, "ends_in": timedelta(seconds=-1)},
    "begins on": {"begins_in": DAY / 2},
    "password": {"key_form": BestAvailableEncryption(b"secret")},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_certificate_that_callers_would_refuse_is_refused(authority: Authority, message: str):
    """Before they find out."""
    made = {name: value() if callable(value) else value for name, value in MISTAKES[message].items()}
    with pytest.raises(ConfigError, match=message):
        load_material(settings(*authority.issue(**made)))


def test_the_key_of_another_certificate_is_refused(authority: Authority):
    """Half of a rotation."""
    certificate, _ = authority.issue()
    _, key = authority.issue(file="other")

    with pytest.raises(ConfigError, match="not the key of"):
        load_material(settings(certificate, key))


def test_files_that_are_missing_or_none_of_these_are_refused(authority: Authority, tmp_path: Path):
    """By the name of the setting."""
    certificate, key = authority.issue()
    gone = tmp_path / "gone"

    for wrong, message in (
        (settings(gone, key), "gone cannot be read"),
        (settings(certificate, gone), "gone cannot be read"),
        (settings(key, key), "certificate_file: holds no certificate"),
        (settings(certificate, certificate), "key_file: holds no private key"),
        (settings(certificate, key, key), "client_ca_file: holds no certificate"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_material(wrong)


def test_a_key_that_everyone_may_write_is_refused(authority: Authority):
    """Whoever writes it is the server."""
    certificate, key = authority.issue()
    key.chmod(0o666)

    with pytest.raises(ConfigError, match="everyone may write"):
        load_material(settings(certificate, key))
