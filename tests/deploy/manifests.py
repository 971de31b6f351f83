"""Renders the manifests as an operator's `kubectl kustomize` does, and finds things in the result."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from interlock_server.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
TOOLS = ROOT / ".tools" / "deploy" / "bin"
OVERLAYS = ("cpu", "gpu", "triton")
FLAVOURS = tuple((overlay, secured) for overlay in OVERLAYS for secured in (False, True))

Document = dict[str, Any]


def tool(name: str, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """What one of the tools says."""
    program = TOOLS / name
    assert program.exists(), f"{name} is missing: run sh tests/deploy/install.sh"
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Manifests:
    """What would be applied."""

    text: str

    @cached_property
    def documents(self) -> list[Document]:
        return list(yaml.load_all(self.text, yaml.CSafeLoader))

    def all(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, name: str) -> Document:
        (found,) = (document for document in self.all(kind) if document["metadata"]["name"] == name)
        return found

    @property
    def pods(self) -> Iterator[Document]:
        """The templates of all pods."""
        for kind in ("Deployment", "StatefulSet"):
            yield from (document["spec"]["template"] for document in self.all(kind))

    @property
    def server(self) -> Document:
        """The specification of the server's pods."""
        spec: Document = self.one("Deployment", "interlock")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Document:
        (found,) = self.server["containers"]
        return dict(found)

    def config(self) -> Config:
        """The configuration as the server would read it."""
        environment = {variable["name"]: variable["value"] for variable in self.container.get("env", [])}
        (config_map,) = self.all("ConfigMap")
        ((name, text),) = config_map["data"].items()
        with TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_text(text)
            return load_config(path, environment)


@cache
def render(overlay: str, secured: bool = False) -> Manifests:
    """An overlay, with or without the component that turns TLS on."""
    with TemporaryDirectory() as folder:
        copied = shutil.copytree(KUBERNETES, Path(folder, "kubernetes"))
        rendered = copied / "rendered"
        rendered.mkdir()
        content: Mapping[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../overlays/{overlay}"],
            "components": ["../components/secured"] if secured else [],
        }
        (rendered / "kustomization.yaml").write_text(yaml.safe_dump(content))
        done = tool("kubectl", "kustomize", rendered)
    assert (0, "") == (done.returncode, done.stderr)
    return Manifests(done.stdout)


def labelled(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels takes what has these."""
    return bool(selector) and selector.items() <= labels.items()
