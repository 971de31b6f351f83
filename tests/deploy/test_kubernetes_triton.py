"""The overlay with remote members: the servers, the models and the bundle are of one piece."""

import re
import shlex
from pathlib import Path

import pytest
from interlock_server.cli import app
from typer.testing import CliRunner

from .manifests import Document, Manifests, render

EXPORT = re.compile(r"interlock bundle (export-triton .*)$")


@pytest.fixture
def manifests() -> Manifests:
    return render("triton")


@pytest.fixture
def triton(manifests: Manifests) -> Document:
    return manifests.one("StatefulSet", "interlock-triton")


def exported(pod: Document, folder: Path) -> str:
    """Runs what the pod's init container runs, with its folder of models in `folder`; gives what it says."""
    (init,) = pod["initContainers"]
    found = EXPORT.search(init["command"][-1])
    assert found is not None
    words = [word.replace("/models", str(folder)) for word in shlex.split(found.group(1))]
    result = CliRunner().invoke(app, ["bundle", *words])
    assert 0 == result.exit_code, result.output
    return result.stdout


def test_the_pinned_bundle_is_the_one_that_is_exported(manifests: Manifests, tmp_path: Path) -> None:
    """By its digest: otherwise the server does not start."""
    said = exported(manifests.server, tmp_path)

    bundle = manifests.config().bundle
    assert f"bundle.digest: {bundle.digest}" in said
    assert (tmp_path / bundle.path.removeprefix("/models/")).is_dir()


def test_triton_serves_the_models_of_that_bundle(manifests: Manifests, triton: Document, tmp_path: Path) -> None:
    """It exports the same one, to where Triton looks for models."""
    said = exported(triton["spec"]["template"]["spec"], tmp_path)

    (container,) = triton["spec"]["template"]["spec"]["containers"]
    assert manifests.config().bundle.digest in said
    assert "--model-repository=/models/repository" in container["args"]
    assert {"encoder", "sentences"} == {path.name for path in (tmp_path / "repository").iterdir()}


def test_every_server_is_named(manifests: Manifests, triton: Document) -> None:
    """By the name that its StatefulSet gives it, at the port of its service."""
    spec, name = triton["spec"], triton["metadata"]["name"]
    service = manifests.one("Service", spec["serviceName"])
    (port,) = (each["port"] for each in service["spec"]["ports"] if each["name"] == "grpc")

    expected = [f"{name}-{number}.{service['metadata']['name']}:{port}" for number in range(spec["replicas"])]
    assert expected == manifests.config().triton.endpoints


def test_interlock_may_reach_triton_and_names(manifests: Manifests) -> None:
    """Otherwise nothing leaves its pods."""
    ports = [port["port"] for rule in _egress(manifests) for port in rule["ports"]]

    assert ["grpc", 53, 53] == ports


def _egress(manifests: Manifests) -> list[Document]:
    rules: list[Document] = manifests.one("NetworkPolicy", "interlock-to-triton")["spec"]["egress"]
    return rules
