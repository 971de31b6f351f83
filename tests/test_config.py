"""The configuration: one strict file, overrides from the environment and the command line, and safe defaults."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from interlock_server.config import Config, load_config
from interlock_server.errors import ConfigError

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Loads a configuration from a text and the environment."""

    def load_text(text: str = "{}", /, **environment: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config(path, {f"INTERLOCK__{name}": value for name, value in environment.items()})

    return load_text


def refused(load: Any, *arguments: str, **environment: str) -> str:
    """What is said about a configuration that is refused."""
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **environment)
    return str(caught.value)


def test_an_empty_configuration_is_the_default(load: Any):
    """Nothing has to be configured."""
    assert Config() == load() == load_config(None, {})


def test_the_default_is_reachable_from_this_machine_only():
    """A server that nobody configured serves nobody else."""
    transport = Config().transport

    assert ("127.0.0.1:50051", "127.0.0.1:50052", False) == (
        transport.address,
        transport.http_address,
        transport.insecure,
    )


def test_the_default_pins_the_default_bundle():
    """The digest that ships is that of the bundle that ships."""
    manifest = (DEFAULT_BUNDLE / "manifest.json").read_bytes()

    assert "sha256:" + sha256(manifest).hexdigest() == DEFAULT_BUNDLE_DIGEST
    assert (str(DEFAULT_BUNDLE), DEFAULT_BUNDLE_DIGEST) == (Config().bundle.path, Config().bundle.digest)


def test_another_bundle_is_not_trusted_unpinned(load: Any):
    """A path alone leaves the pin of the bundle that ships, which no other bundle meets."""
    assert DEFAULT_BUNDLE_DIGEST == load("bundle: {path: /srv/other}").bundle.digest


def test_a_file_is_read(load: Any):
    """Every section has its place."""
    config = load(
        f"bundle: {{path: /srv/bundle, digest: '{DIGEST}'}}\ninference: {{lanes: 3}}\n"
        "transport: {address: 'localhost:7000'}\nlog_level: debug\n"
    )

    assert ("/srv/bundle", DIGEST, 3, "localhost:7000", "debug") == (
        config.bundle.path,
        config.bundle.digest,
        config.inference.lanes,
        config.transport.address,
        config.log_level,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transport: {adress: 'localhost:1'}", "transport.adress: there is no such setting"),
        ("transports: {}", "transports: there is no such setting"),
        ("transport:", "transport: must be a mapping"),
        ("transport: 5", "transport: must be a mapping"),
        ("log_level: loud", "log_level: input should be 'debug', 'info', 'warning' or 'error'"),
        ("inference: {lanes: 0}", "inference.lanes: input should be greater than or equal to 1"),
        ("inference: {lanes: 2.5}", "inference.lanes: input should be a valid integer"),
        ("inference: {lanes: '2'}", "inference.lanes: input should be a valid integer"),
        ("inference: {admission_share: 0}", "inference.admission_share: input should be greater than 0"),
        ("bundle: {path: 5}", "bundle.path: input should be a valid string"),
        ("log_level: info\nlog_level: info", "line 2: the key 'log_level' stands twice"),
        ("- log_level", "must be a mapping"),
        ("", "must be a mapping"),
        ("log_level: [", "line 1: expected the node content, but found '<stream end>'"),
    ],
)
def test_a_mistake_in_the_file_is_refused(load: Any, text: str, message: str):
    """By the name of the file and of the field."""
    assert f"config.yaml: {message}" == refused(load, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    """Whoever names a file means it."""
    with pytest.raises(ConfigError, match=r"^absent\.yaml: cannot be read: No such file or directory$"):
        load_config(tmp_path / "absent.yaml", {})


@pytest.mark.parametrize("port", ["65536", "99999", "-1", "http", "", "1.5", "²"])
@pytest.mark.parametrize("key", ["address", "http_address"])
def test_a_port_is_a_port(load: Any, key: str, port: str):
    """From 0, which means any, to 65535."""
    assert f"config.yaml: transport.{key}: " in refused(load, f"transport: {{{key}: 'localhost:{port}'}}")


@pytest.mark.parametrize("address", ["localhost", ":50051", "50051", ""])
def test_an_address_has_a_host_and_a_port(load: Any, address: str):
    """An address without a host would listen to everybody."""
    assert "config.yaml: transport.address: must be HOST:PORT" == refused(load, f"transport: {{address: '{address}'}}")


@pytest.mark.parametrize("port", ["0", "1", "65535"])
def test_any_port_can_be_used(load: Any, port: str):
    """The ends of the range are in it."""
    assert f"localhost:{port}" == load(f"transport: {{address: 'localhost:{port}'}}").transport.address


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "127.0.0.1.evil.org:1"])
@pytest.mark.parametrize("key", ["address", "http_address"])
def test_an_open_address_must_be_accepted(load: Any, key: str, address: str):
    """Without TLS, listening to others takes a second word."""
    assert refused(load, f"transport: {{{key}: '{address}'}}") == (
        f"config.yaml: transport: {address} can be reached by others without TLS; set insecure to accept that"
    )


def test_an_open_address_can_be_accepted(load: Any):
    """Behind a mesh that encrypts, it is what one wants."""
    text = "transport: {address: '0.0.0.0:1', http_address: '0.0.0.0:2', insecure: true}"

    assert "0.0.0.0:1" == load(text).transport.address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.1.2.3:1", "localhost:1", "[::1]:1"])
def test_loopback_needs_no_second_word(load: Any, address: str):
    """Only this machine can reach it."""
    assert address == load(f"transport: {{address: '{address}'}}").transport.address


@pytest.mark.parametrize(
    "digest", ["", "latest", "a" * 64, "sha256:abc", "sha256:" + "A" * 64, DIGEST + "0", DIGEST + "\\n"]
)
def test_a_pin_is_a_digest(load: Any, digest: str):
    """A pin that cannot be met is a mistake, and one that means nothing is none."""
    assert "config.yaml: bundle.digest: string should match" in refused(load, f'bundle: {{digest: "{digest}"}}')


def test_a_pin_cannot_be_taken_away(load: Any):
    """There is no way to run a bundle that nobody pinned."""
    assert "config.yaml: bundle.digest: input should be a valid string" == refused(load, "bundle: {digest: null}")


def test_the_environment_overrides_the_file(load: Any):
    """Key by key: what it does not name stays."""
    config = load("inference: {lanes: 3, queue_size_max: 7}", INFERENCE__LANES="5")

    assert (5, 7) == (config.inference.lanes, config.inference.queue_size_max)


def test_the_environment_needs_no_file():
    """A container can be configured without one."""
    config = load_config(None, {"INTERLOCK__LOG_LEVEL": "error", "INTERLOCK__TRANSPORT__ADDRESS": "localhost:9"})

    assert ("error", "localhost:9") == (config.log_level, config.transport.address)


def test_the_environment_is_typed_as_the_file_is(load: Any):
    """true is a boolean and 5 a number."""
    config = load(TRANSPORT__INSECURE="true", TRANSPORT__DRAIN_SECONDS="5")

    assert (True, 5.0) == (config.transport.insecure, config.transport.drain_seconds)


def test_other_variables_are_not_read():
    """Only the prefix is ours."""
    assert Config() == load_config(None, {"TRANSPORT__ADDRESS": "0.0.0.0:1", "INTERLOCK_LOG_LEVEL": "loud"})


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch):
    """Nothing has to be passed."""
    monkeypatch.setenv("INTERLOCK__INFERENCE__LANES", "4")

    assert 4 == load_config().inference.lanes


@pytest.mark.parametrize("value", ["[", "a: b: c", "'", "2024-99-99", "*alias", "\x07"])
def test_a_broken_value_in_the_environment_is_refused(load: Any, value: str):
    """By the name of the variable; its value may be a secret."""
    assert "INTERLOCK__LOG_LEVEL: is not a YAML value" == refused(load, LOG_LEVEL=value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TRANSPORT__ADRESS", "transport.adress: there is no such setting"),
        ("TRANSPORTS", "transports: there is no such setting"),
        ("TRANSPORT__ADDRESS__HOST", "transport.address: input should be a valid string"),
        ("TRANSPORT", "transport: must be a mapping"),
    ],
)
def test_a_misspelt_variable_is_refused(load: Any, name: str, message: str):
    """A setting that has no effect is a mistake wherever it is made."""
    assert f"config.yaml: {message}" == refused(load, **{name: "x"})


def test_the_environment_does_not_hide_a_mistake_in_the_file(load: Any):
    """A section that is no section stays an error when one of its keys is overridden."""
    assert "transport: must be a mapping" == refused(load, "transport: 5", TRANSPORT__INSECURE="true")


def test_the_environment_cannot_open_an_address_alone(load: Any):
    """The same checks hold wherever a setting comes from."""
    assert "can be reached by others without TLS" in refused(load, TRANSPORT__ADDRESS="0.0.0.0:1")


def test_the_command_line_overrides_both(tmp_path: Path):
    """The nearer word counts, key by key."""
    path = tmp_path / "config.yaml"
    path.write_text("transport: {address: 'localhost:1', in_flight_max: 9}")
    config = load_config(path, {"INTERLOCK__TRANSPORT__ADDRESS": "localhost:2"}, {"address": "localhost:3"})

    assert ("localhost:3", 9) == (config.transport.address, config.transport.in_flight_max)


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        ("{}", "full"),
        ("transport: {address: '0.0.0.0:1', insecure: true}", "reasons"),
        ("transport: {address: '0.0.0.0:1', insecure: true, detail_max: full}", "full"),
        ("transport: {detail_max: decision}", "decision"),
    ],
)
def test_scores_stay_on_this_machine_by_default(load: Any, text: str, granted: str):
    """Scores are an oracle for attackers: others get reasons, unless an operator says otherwise."""
    assert granted == load(text).transport.detail_granted
