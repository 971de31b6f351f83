"""The settings of the edge."""

import ipaddress

from pydantic import Field, field_validator

from interlock_server.access.callers import DetailName
from interlock_server.strict import Settings


class TlsSettings(Settings):
    """Files in PEM; read again when they change."""

    certificate_file: str
    """The server's certificate, then those between it and the root."""
    key_file: str
    client_ca_file: str | None = None
    """If given, a caller must show a certificate that it has signed."""


class TransportSettings(Settings):
    """Addresses, and limits on everything that a caller controls."""

    address: str = "127.0.0.1:50051"
    http_address: str = "127.0.0.1:50052"
    admin_address: str | None = None
    """Where to reload and roll out; nowhere by default. Beyond loopback it needs TLS and callers."""
    tls: TlsSettings | None = None
    """For gRPC, and beyond loopback for HTTP too."""
    insecure: bool = False
    """Allows to listen without TLS on an address that others can reach."""
    reflection: bool | None = None
    """Whether callers may ask for the contract; by default on loopback only."""
    detail_max: DetailName | None = None
    """The most that a caller is told; by default `full` on loopback and `reasons` elsewhere."""
    message_bytes_max: int = Field(default=16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    in_flight_max: int = Field(default=1024, ge=1, le=100_000)
    connections_max: int = Field(default=20_000, ge=1, le=1_000_000)
    rpcs_max: int = Field(default=20_000, ge=1, le=1_000_000)
    """Calls under way, with health watches and streams; more are RESOURCE_EXHAUSTED before anything of them is read."""
    metadata_bytes_max: int = Field(default=16 * 1024, ge=1024, le=1024 * 1024)
    batch_size_max: int = Field(default=256, ge=1, le=10_000)
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    stream_in_flight_max: int = Field(default=256, ge=1, le=10_000)
    """Items of one stream that are not answered yet; while there are as many, the server does not read on."""
    connection_age_s: float = Field(default=300.0, ge=1, le=86_400)
    """After about so long callers are asked to connect anew, so that load spreads over servers that came later."""
    connection_age_grace_s: float = Field(default=330.0, ge=1, le=7_200)
    """How long calls on an old connection may go on. Streams of many items end in half of it, so that none is cut."""
    growing_max: int = Field(default=1024, ge=1, le=100_000)
    """Completions that are screened while they are being written; more are withheld."""
    growing_seconds_max: float = Field(default=300.0, ge=1, le=3_600)
    """How long a completion may take to be written."""
    growing_idle_s: float = Field(default=30.0, ge=0.01, le=3_600)
    """How long nothing of it may come."""

    @field_validator("address", "http_address", "admin_address")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, separator, port = value.rpartition(":")
        if not (separator and host and port.isdigit() and int(port) < 65_536):
            raise ValueError("must be HOST:PORT")
        return value

    @property
    def stream_age_s(self) -> float:
        """A stream ends when it is that old: one that began just before its connection was asked to end is not cut."""
        return min(self.connection_age_grace_s / 2, 30.0)

    @property
    def growing_s(self) -> float:
        """How long a completion may take to be written: none is cut by the age of its connection either."""
        return min(self.growing_seconds_max, self.connection_age_grace_s)

    @property
    def reflected(self) -> bool:
        """Whether callers may ask for the contract."""
        return is_loopback(self.address) if self.reflection is None else self.reflection

    @property
    def detail_granted(self) -> DetailName:
        """The most that a caller is told."""
        return self.detail_max or ("full" if is_loopback(self.address) else "reasons")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach HOST:PORT."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
