"""The settings of members that run on Triton servers."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from interlock_server.strict import Settings


def _host_and_port(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not (separator and host and "/" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError("must be HOST:PORT")
    return value


def _different(endpoints: list[str]) -> list[str]:
    if len(set(endpoints)) != len(endpoints):
        raise ValueError("must not name an endpoint twice")
    return endpoints


Endpoint = Annotated[str, AfterValidator(_host_and_port)]


class TritonTls(Settings):
    """PEM files, read anew before every attempt to connect: whoever renews one replaces it, and restarts nothing."""

    ca_file: str
    """Of the authority that signed the servers' certificates; no other is believed."""
    certificate_file: str | None = None
    """What this process shows to servers that ask for it."""
    key_file: str | None = None
    """Of that certificate."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> "TritonTls":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file need each other")
        return self


class TritonSettings(Settings):
    """Where the servers are, and limits on what is asked of them."""

    endpoints: Annotated[list[Endpoint], Field(max_length=64), AfterValidator(_different)] = []
    """Of servers that all have every remote member; each is asked in turn, and another one when it is lost."""
    tls: TritonTls | None = None
    insecure: bool = False
    """Allows plain text to an endpoint beyond this machine: whoever can listen there reads, or changes, what is judged."""
    slots: int = Field(default=8, ge=1, le=1_024)
    """Calls under way at once, for each member, over all servers. More wait in this process, by urgency."""
    connect_timeout_ms: int = Field(default=5_000, ge=10, le=60_000)
    """To connect to one server, and for what it says of itself and its model."""
    check_timeout_ms: int = Field(default=60_000, ge=10, le=600_000)
    """For the golden exchanges, which one server's model has to reproduce before it is used."""
    rest_ms: int = Field(default=1_000, ge=10, le=600_000)
    """How long a server that was silent is passed over, and how often one that was lost is looked at again."""
    keepalive_ms: int = Field(default=10_000, ge=1_000, le=3_600_000)
    """After so long without a word from a server that owes an answer, it is asked for a sign of life."""
    keepalive_timeout_ms: int = Field(default=5_000, ge=100, le=60_000)
    """Without one after so long, the connection is given up."""
