"""What callers install stays thin: two dependencies, no heavy import, less than 25 MB to download."""

import re
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
CLIENT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
DOWNLOAD_BYTES_MAX = 25_000_000

IMPORT = """
import sys, interlock_client, interlock_client.testing
heavy = "numpy torch onnxruntime tokenizers transformers pydantic yaml interlock_server interlock_lab"
print(*(name for name in heavy.split() if name in sys.modules))
"""


def test_import_loads_nothing_heavy() -> None:
    """Importing the client loads neither models nor the server."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == ""


def test_two_dependencies() -> None:
    """The client needs grpcio and protobuf, in the versions that the whole project is built with, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert sorted(Requirement(line).name for line in CLIENT["dependencies"]) == ["grpcio", "protobuf"]
    assert sorted(project["dependencies"]) == sorted(CLIENT["dependencies"])


def test_imports_are_declared() -> None:
    """The sources import the standard library, the two dependencies and each other."""
    imported = re.compile(r"^\s*(?:import|from) ([a-z_]\w*)", re.MULTILINE)
    sources = [*(ROOT / "client").rglob("*.py"), *(ROOT / "proto" / "interlock").rglob("*.py")]
    names = {name for source in sources for name in imported.findall(source.read_text())}

    assert {"grpc", "google", "interlock"} == names - sys.stdlib_module_names


def test_download_is_small() -> None:
    """The client's wheel and all it depends on stay under the limit.

    Works offline: a wheel is a zip of the files in its RECORD (byte code is made on installing), so compressing what is
    installed as zip does gives the size of the download to within the zip headers.
    """
    installed = [path for dist in closure(CLIENT["dependencies"]) for path in shipped(dist)]
    ours = [path for top in ("client/interlock_client", "proto/interlock") for path in (ROOT / top).rglob("*.py*")]
    bytes_total = sum(len(zlib.compress(path.read_bytes())) for path in {*installed, *ours} if path.suffix != ".pyc")

    assert 1_000_000 < bytes_total < DOWNLOAD_BYTES_MAX


def closure(requirements: list[str]) -> list[Distribution]:
    """The distributions that these requirements pull in here, each once."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            waiting += [Requirement(line) for line in found[requirement.name].requires or ()]
    return list(found.values())


def shipped(dist: Distribution) -> Iterator[Path]:
    """The files of an installed distribution."""
    return (path for path in (Path(str(file.locate())) for file in dist.files or ()) if path.is_file())
