"""The key of the hashes and the public key of kept texts. Whoever has the first can try out texts; it never leaves its file."""

import hashlib
import os
from pathlib import Path

from interlock_server.audit.files import Files
from interlock_server.audit.settings import AuditSettings
from interlock_server.errors import ConfigError

KEY_FILE = "hash.key"
_KEY_SIZE = 32


def hash_key(settings: AuditSettings, folder: Path, files: Files) -> bytes:
    """The key of the hashes, made when the folder is to have one and has none; raises ConfigError."""
    named = settings.hash_key_file
    path = folder / KEY_FILE if named is None else Path(named)
    if named is None and not path.exists():
        _make(path, files)
    return _read(path, "audit.hash_key_file")


def public_key(settings: AuditSettings) -> bytes:
    """The key that kept texts are sealed with; raises ConfigError."""
    if settings.public_key_file is None:
        raise ConfigError("audit.public_key_file: must be given when audit.text is encrypted")
    return _read(Path(settings.public_key_file), "audit.public_key_file")


def key_id(key: bytes) -> str:
    """Which key it is, without saying what it is."""
    return hashlib.sha256(key).hexdigest()[:16]


def _make(path: Path, files: Files) -> None:
    """Under another name first: a key that was only half written would keep the server from ever starting."""
    draft = path.with_suffix(".new")
    file = files.open(draft, fresh=True)
    try:
        files.write(file, os.urandom(_KEY_SIZE).hex().encode() + b"\n")
        files.sync(file)
    finally:
        files.close(file)
    files.rename(draft, path)
    files.sync_folder(path.parent)


def _read(path: Path, field: str) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ConfigError(f"{field}: {path} cannot be read: {error.strerror}") from error
    except ValueError:  # its message may quote the key
        key = b""
    if len(key) != _KEY_SIZE:
        raise ConfigError(f"{field}: {path} must hold {_KEY_SIZE} bytes in hex")
    return key
