"""What may be configured of Triton servers."""

from typing import Any

import pytest
from interlock_server.backends.triton_settings import TritonSettings
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
