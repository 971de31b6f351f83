"""The one configuration file. Each part's settings live beside the part; here they are only put together.

`INTERLOCK__SECTION__KEY=value` in the environment overrides a key; nothing else in the server reads the environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

from interlock_server.access.settings import AccessSettings
from interlock_server.audit.settings import AuditSettings
from interlock_server.backends.triton_settings import TritonSettings
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from interlock_server.drift_files import DriftSettings
from interlock_server.errors import ConfigError
from interlock_server.inference.settings import InferenceSettings
from interlock_server.reload_settings import CanarySettings, ReloadSettings
from interlock_server.strict import Settings, read_mapping, validate
from interlock_server.tracing.settings import TracingSettings
from interlock_server.transport.settings import TransportSettings, is_loopback

ENVIRONMENT_PREFIX = "INTERLOCK__"


class BundleSettings(Settings):
    """Which ensemble to run. Another than the one that ships must be pinned by its digest."""

    path: str = str(DEFAULT_BUNDLE)
    digest: str = Field(default=DEFAULT_BUNDLE_DIGEST, pattern=r"^sha256:[0-9a-f]{64}$")
    policy: str | None = None
    """A policy file instead of the bundle's own."""
    certificate: str | None = None
    """The certificate of that policy; without it the policy has none that holds."""
    shadow_policies: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], str] = Field(
        default={}, max_length=8
    )
    """Name -> policy file that every verdict is compared with; what it would have said is recorded, never enforced."""
    canary: CanarySettings | None = None
    """A policy on trial."""


class Config(Settings):
    """Everything that can be configured."""

    access: AccessSettings = AccessSettings()
    bundle: BundleSettings = BundleSettings()
    audit: AuditSettings = AuditSettings()
    drift: DriftSettings = DriftSettings()
    inference: InferenceSettings = Field(default_factory=InferenceSettings)
    reload: ReloadSettings = ReloadSettings()
    transport: TransportSettings = TransportSettings()
    tracing: TracingSettings = TracingSettings()
    triton: TritonSettings = TritonSettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _not_open_to_all(self) -> "Config":
        for address in (self.transport.address, self.transport.http_address):
            if not (is_loopback(address) or self.transport.tls or self.transport.insecure):
                raise ValueError(
                    f"transport: {address} can be reached by others without TLS; set insecure to accept that"
                )
        admin = self.transport.admin_address
        if admin is not None and not (is_loopback(admin) or (self.transport.tls and self.access.file)):
            raise ValueError(f"transport.admin_address: {admin} can be reached by others; it needs tls and access.file")
        for endpoint in self.triton.endpoints:
            if not (is_loopback(endpoint) or self.triton.tls or self.triton.insecure):
                raise ValueError(
                    f"triton: {endpoint} is reached over the network without TLS; set tls, or insecure to accept that"
                )
        return self


class ConfigSource(NamedTuple):
    """Where a configuration comes from, so that it can be read again."""

    path: Path | None = None
    transport: Mapping[str, Any] = {}
    """What the command line says."""

    def read(self) -> Config:
        """As it is now; raises ConfigError."""
        return load_config(self.path, transport=self.transport)


def load_config(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    transport: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration from a file, the environment and the command line (`transport`), each over the one before.

    Raises ConfigError naming the file and the field.
    """
    content: dict[str, Any] = dict(read_mapping(path)) if path else {}
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            _override(content, name, value)
    for key, value in (transport or {}).items():
        _set(content, ["transport", key], value)
    return validate(Config, content, path.name if path else "config")


def _override(content: dict[str, Any], name: str, value: str) -> None:
    try:
        _set(content, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), yaml.safe_load(value))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise ConfigError(f"{name}: is not a YAML value") from error


def _set(content: dict[str, Any], keys: list[str], value: object) -> None:
    *sections, key = keys
    for section in sections:
        inner = content.get(section) or {}
        if not isinstance(inner, Mapping):  # replacing it would hide the mistake
            raise ConfigError(f"{section}: must be a mapping")
        content[section] = dict(inner)
        content = content[section]
    content[key] = value
