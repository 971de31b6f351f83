"""deploy/compose.yaml: of the form that compose reads, and true to the server and to the files beside it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from interlock_server.config import Config, load_config

from .manifests import ROOT, render, tool

COMPOSE = ROOT / "deploy" / "compose.yaml"
SCHEMA = ("--builtin-schema", "vendor.compose-spec")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


@pytest.fixture
def config(compose: dict[str, Any]) -> Config:
    return load_config(environment=compose["services"]["interlock"]["environment"])


def test_compose_knows_every_key() -> None:
    """By the schema of its specification."""
    done = tool("check-jsonschema", *SCHEMA, COMPOSE)

    assert 0 == done.returncode, done.stdout


def test_a_misspelt_key_would_be_seen(tmp_path: Path) -> None:
    """The check before this one can fail."""
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE.read_text().replace("depends_on", "depend_on"))

    assert 1 == tool("check-jsonschema", *SCHEMA, path).returncode


def test_all_four_are_there(compose: dict[str, Any]) -> None:
    """And what makes the models."""
    assert {"export", "interlock", "triton", "prometheus", "grafana"} == set(compose["services"])


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    """There is no TLS here."""
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_server_asks_triton_for_the_bundle_that_the_cluster_asks_for(config: Config) -> None:
    """The digest that tests/deploy/test_kubernetes_triton.py makes anew."""
    assert render("triton").config().bundle == config.bundle
    assert ["triton:8001"] == config.triton.endpoints


def test_the_server_has_the_lanes_of_its_cores_and_the_time_to_drain(compose: dict[str, Any], config: Config) -> None:
    """As everywhere: one more than cores, and a kill that comes after the drain."""
    service = compose["services"]["interlock"]

    assert service["cpus"] + 1 == config.inference.lanes
    assert int(service["stop_grace_period"].removesuffix("s")) >= config.transport.drain_seconds + 5


def test_the_files_that_it_mounts_are_there(compose: dict[str, Any]) -> None:
    """Rules and dashboard, from deploy/monitoring."""
    volumes = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    files = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]

    assert 2 == len(files)
    assert all((COMPOSE.parent / file).is_file() for file in files)


def test_prometheus_scrapes_the_ports_of_the_network(compose: dict[str, Any], config: Config) -> None:
    """By the names of the services; the rules want a job whose name begins with interlock."""
    jobs = yaml.safe_load(compose["configs"]["prometheus"]["content"])["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}

    port = config.transport.http_address.rpartition(":")[2]
    assert [f"interlock:{port}"] == targets["interlock"]
