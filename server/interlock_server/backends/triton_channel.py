"""The connection to a Triton server: its options, and TLS where the settings name certificates."""

from pathlib import Path
from typing import NamedTuple

import grpc

from interlock_server.backends.triton_protocol import ANSWER_BYTES_MAX
from interlock_server.backends.triton_settings import TritonSettings, TritonTls
from interlock_server.errors import BackendError

NEVER_MS = 2**31 - 1
_PEM_BYTES_MAX = 1 << 20


class Secrets(NamedTuple):
    """The contents of the files of a TritonTls."""

    authority: bytes
    key: bytes | None
    certificate: bytes | None


def read_secrets(tls: TritonTls | None) -> Secrets | None:
    """The files as they are now; raises BackendError that names the setting of one that is not there."""
    if tls is None:
        return None
    key = None if tls.key_file is None else _pem(tls.key_file, "key_file")
    certificate = None if tls.certificate_file is None else _pem(tls.certificate_file, "certificate_file")
    return Secrets(_pem(tls.ca_file, "ca_file"), key, certificate)


def open_channel(address: str, secrets: Secrets | None, settings: TritonSettings) -> grpc.aio.Channel:
    """Connects as soon as it is used; with `secrets` only to a server whose certificate is of that authority."""
    if secrets is None:
        return grpc.aio.insecure_channel(address, options=_options(settings))
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*secrets), options=_options(settings))


def _pem(name: str, setting: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_PEM_BYTES_MAX)
    except OSError as error:
        raise BackendError(f"triton.tls.{setting}: cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in content:  # an empty one would mean the authorities that gRPC brings along
        raise BackendError(f"triton.tls.{setting}: is not PEM")
    return content


def _options(settings: TritonSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
        ("grpc.keepalive_time_ms", settings.keepalive_ms),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_ms),
        # Of the pings that gRPC sends by itself under load, while it sends no others.
        ("grpc.http2.ping_timeout_ms", settings.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 0),  # servers hang up on those who ping while nothing is under way
        # Without calls a connection stays, so that one that is gone always means that the server may be another.
        ("grpc.client_idle_timeout_ms", NEVER_MS),
        ("grpc.initial_reconnect_backoff_ms", settings.rest_ms),
        ("grpc.max_reconnect_backoff_ms", settings.rest_ms),
        ("grpc.min_reconnect_backoff_ms", settings.connect_timeout_ms),  # the time that one attempt gets
        ("grpc.use_local_subchannel_pool", 1),  # a connection of its own: its state is that of this member's model
        ("grpc.enable_http_proxy", 0),  # nothing here is steered by the environment
    ]
