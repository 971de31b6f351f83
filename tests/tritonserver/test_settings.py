"""What may be configured of Triton servers."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.config import Config, load_config
from interlock_server.errors import ConfigError
from interlock_server.strict import validate


@pytest.mark.parametrize("endpoint", ["triton:8001", "127.0.0.1:1", "[::1]:65535", "triton.models.svc:8001"])
def test_an_endpoint_is_a_host_and_a_port(endpoint: str):
    """By name or by address."""
    assert [endpoint] == validate(TritonSettings, {"endpoints": [endpoint]}, "config").endpoints


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"endpoints": ["triton"]}, "endpoints.0: must be HOST:PORT"),
        ({"endpoints": ["http://triton:8001"]}, "endpoints.0: must be HOST:PORT"),
        ({"endpoints": ["triton:0"]}, "endpoints.0: must be HOST:PORT"),
        ({"endpoints": ["triton:65536"]}, "endpoints.0: must be HOST:PORT"),
        ({"endpoints": ["a:1", "a:1"]}, "endpoints: must not name an endpoint twice"),
        ({"tls": {}}, "tls.ca_file: field required"),
        ({"tls": {"ca_file": "a", "key_file": "b"}}, "tls: certificate_file and key_file need each other"),
        ({"slots": 0}, "slots: input should be greater than or equal to 1"),
        ({"keepalive_ms": 1}, "keepalive_ms: input should be greater than or equal to 1000"),
        ({"timeout": 1}, "timeout: there is no such setting"),
    ],
)
def test_anything_else_is_refused(content: dict[str, Any], complaint: str):
    """With the name of the field."""
    with pytest.raises(ConfigError) as caught:
        validate(TritonSettings, content, "config")

    assert f"config: {complaint}" == str(caught.value)


def configured(tmp_path: Path, **triton: Any) -> Config:
    """A configuration with these settings."""
    path = tmp_path / "interlock.yaml"
    path.write_text(yaml.safe_dump({"triton": triton}))
    return load_config(path, environment={})


@pytest.mark.parametrize("endpoint", ["triton:8001", "10.0.0.7:8001", "[2001:db8::1]:8001", "0.0.0.0:8001"])
def test_plain_text_over_a_network_is_refused(tmp_path: Path, endpoint: str):
    """Also when it is only one of several."""
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, endpoints=["127.0.0.1:8001", endpoint])

    why = f"triton: {endpoint} is reached over the network without TLS; set tls, or insecure to accept that"
    assert f"interlock.yaml: {why}" == str(caught.value)


@pytest.mark.parametrize(
    "triton",
    [
        {"endpoints": ["127.0.0.1:8001", "[::1]:8001", "localhost:8001"]},
        {"endpoints": ["triton:8001"], "insecure": True},
        {"endpoints": ["triton:8001"], "tls": {"ca_file": "ca.pem"}},
    ],
)
def test_anything_else_is_accepted(tmp_path: Path, triton: dict[str, Any]):
    """On this machine, in so many words, or with TLS."""
    assert triton["endpoints"] == configured(tmp_path, **triton).triton.endpoints
