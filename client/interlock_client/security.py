"""How a client knows its server, and shows who it is: certificates and tokens, from files only."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from .errors import SettingsError

_TOKEN_SIZE_MAX = 512


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files in PEM, read for every new channel.

    root              certificates that the server's must come from; None: those that gRPC knows, of the public web
    certificate, key  the client's own, where servers ask for one
    """

    root: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("tls: certificate and key go together")

        self.files()  # what cannot be read now is a mistake; later it withholds

    def files(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What gRPC wants: root, key, certificate; raises SettingsError when one cannot be read."""
        return _read(self.root), _read(self.key), _read(self.certificate)

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel; raises SettingsError."""
        return grpc.ssl_channel_credentials(*self.files())


def token_of(file: str | Path) -> str:
    """The token in a file, read for every call, so that another one takes its place without a restart."""
    # Whoever fills the file may end it with a line break.
    token = (_read(file) or b"")[: _TOKEN_SIZE_MAX + 1].decode("ascii", "replace").strip()
    if not token or len(token) > _TOKEN_SIZE_MAX or not (token.isascii() and token.isprintable()):
        raise SettingsError("token_file: holds no token")
    return token


def is_local(targets: str | Sequence[str]) -> bool:
    """Whether nothing that is sent leaves this machine."""
    return all(map(_is_loopback, (targets,) if isinstance(targets, str) else targets))


def _is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or target.startswith("unix:")


def _read(file: str | Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"{Path(file).name}: cannot be read: {error.strerror}") from None
