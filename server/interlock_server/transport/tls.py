"""The server's certificate: checked before it is used, and read again when its files change, for connections that come later."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from interlock_server.access.watched import Watched
from interlock_server.errors import ConfigError
from interlock_server.log import log_event
from interlock_server.metrics import Metrics
from interlock_server.transport.settings import TlsSettings

_RSA_BITS_MIN = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_SIZE_MAX = 1024 * 1024
_OTHERS_MAY_READ, _OTHERS_MAY_WRITE = 0o004, 0o002


@dataclass(frozen=True)
class Material:
    """A certificate with its key, ready for gRPC and for HTTP."""

    configuration: grpc.ServerCertificateConfiguration
    http: ssl.SSLContext
    expires: datetime


class Tls:
    """The certificate in force. Raises ConfigError when it cannot be used; later such a one changes nothing."""

    def __init__(self, settings: TlsSettings, metrics: Metrics) -> None:
        expires = metrics.tls_certificate_expires.labels()
        files = [settings.certificate_file, settings.key_file, settings.client_ca_file]

        def load() -> Material:
            material = load_material(settings)
            expires.set(material.expires.timestamp())
            return material

        self._asks_callers = settings.client_ca_file is not None
        self.watched = Watched("tls", [Path(file) for file in files if file is not None], load, metrics)

    def credentials(self) -> grpc.ServerCredentials:
        """For a gRPC port: every new connection gets the certificate in force."""
        # gRPC calls this in threads of its own, and an exception there would end the connection.
        fetch: Callable[[], grpc.ServerCertificateConfiguration] = lambda: self.watched.current.configuration  # noqa: E731
        return grpc.dynamic_ssl_server_credentials(fetch(), fetch, require_client_authentication=self._asks_callers)

    @property
    def http(self) -> ssl.SSLContext:
        """For an HTTP connection."""
        return self.watched.current.http


def load_material(settings: TlsSettings) -> Material:
    """What the files hold, if callers can trust it now; raises ConfigError naming the setting, never what is in the files."""
    certificate, key = _read(settings.certificate_file), _read(settings.key_file)
    client_ca = _read(settings.client_ca_file) if settings.client_ca_file else None
    if Path(settings.key_file).stat().st_mode & _OTHERS_MAY_READ:
        log_event("tls_key_readable_by_everyone")
    leaf = _certificates(certificate, "tls.certificate_file")[0]
    _check_key(leaf, key)
    _check_time(leaf)
    if client_ca is not None:
        _certificates(client_ca, "tls.client_ca_file")
    pair = (key, certificate)
    return Material(
        configuration=grpc.ssl_server_certificate_configuration([pair], root_certificates=client_ca),
        http=_http_context(settings),
        expires=leaf.not_valid_after_utc,
    )


def _read(name: str) -> bytes:
    path = Path(name)
    try:
        status = path.stat()
        if status.st_mode & _OTHERS_MAY_WRITE:
            raise ConfigError(f"tls: {path.name}: everyone may write it; take that right away")
        if status.st_size > _SIZE_MAX:
            raise ConfigError(f"tls: {path.name}: is larger than {_SIZE_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"tls: {path.name} cannot be read: {error.strerror}") from error


def _certificates(pem: bytes, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"{field}: holds no certificate in PEM") from error


def _check_key(leaf: x509.Certificate, pem: bytes) -> None:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigError(
            "tls.key_file: is locked with a password; keep it in a file that only the server reads"
        ) from error
    except Exception as error:  # ValueError, and UnsupportedAlgorithm for what nobody should use
        raise ConfigError("tls.key_file: holds no private key in PEM") from error
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _RSA_BITS_MIN:
            raise ConfigError(f"tls.key_file: RSA of {key.key_size} bits; it must have {_RSA_BITS_MIN} or more")
    elif not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)):
        raise ConfigError("tls.key_file: must be RSA, or on the curve P-256 or P-384")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise ConfigError("tls.key_file: is not the key of the first certificate in tls.certificate_file")


def _check_time(leaf: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if now >= leaf.not_valid_after_utc:
        raise ConfigError(f"tls.certificate_file: ended on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if now < leaf.not_valid_before_utc:
        raise ConfigError(f"tls.certificate_file: begins on {leaf.not_valid_before_utc:%Y-%m-%d}")


def _http_context(settings: TlsSettings) -> ssl.SSLContext:
    """Callers show no certificate here: those who scrape and those who probe have none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"tls.certificate_file: cannot be used: {getattr(error, 'reason', None) or error.strerror}"
        ) from error
    return context
