"""The settings of tracing."""

from pydantic import Field, field_validator

from interlock_server.strict import Settings


class TracingSettings(Settings):
    """Without an endpoint nothing is traced."""

    endpoint: str | None = None
    """HOST:PORT of a collector that takes OTLP over gRPC."""
    insecure: bool = False
    """Without TLS, as to a collector on the same machine or in the same pod."""
    ca_file: str | None = None
    """The authorities, as PEM, that the collector's certificate may be of; by default those of the system."""
    sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of traces to keep where the caller did not say; otherwise the caller decides."""
    outages_per_second_max: int = Field(default=10, ge=0, le=10_000)
    """Verdicts that are withheld because of the service, and not of the text, are kept beside, up to so many."""
    queue_size_max: int = Field(default=4_096, ge=1, le=1_000_000)
    """Spans that wait to be sent; more are dropped."""
    batch_size_max: int = Field(default=512, ge=1, le=10_000)
    batch_delay_ms: int = Field(default=1_000, ge=1, le=60_000)
    export_timeout_ms: int = Field(default=5_000, ge=1, le=60_000)
    service_name: str = Field(default="interlock", min_length=1, max_length=128)

    @field_validator("endpoint")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        host, _, port = (value or "").rpartition(":")
        if value is not None and not (host and "/" not in host and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("must be HOST:PORT")
        return value
