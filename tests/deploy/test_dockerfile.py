"""The Dockerfile, as far as it can be judged without building it; tests/integration/image builds it."""

import subprocess
import sys
import tomllib

import pytest

from .manifests import ROOT, tool

DOCKER = ROOT / "deploy" / "docker"
LINES = (DOCKER / "Dockerfile").read_text().splitlines()


def test_the_linter_has_nothing_to_say() -> None:
    """But for versions of Debian's packages, which the base's digest pins, and what the first stages leave behind."""
    done = tool("hadolint", "--ignore", "DL3008", "--ignore", "DL3009", DOCKER / "Dockerfile")

    assert (0, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("line", ["USER 10001:10001", 'ENTRYPOINT ["interlock"]', 'CMD ["serve"]'])
def test_it_serves_as_a_numeric_user(line: str) -> None:
    """By number: Kubernetes cannot tell whether a name is root."""
    assert line in LINES


def test_nothing_is_installed_but_what_the_project_asks_for() -> None:
    """The requirements of the extras, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = (line.removeprefix("ARG EXTRAS=") for line in LINES if line.startswith("ARG EXTRAS="))

    command = [sys.executable, DOCKER / "requirements.py", ROOT / "pyproject.toml", extras]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    wanted = [project["optional-dependencies"][extra] for extra in extras.split(",")]
    assert [*project["dependencies"], *(requirement for group in wanted for requirement in group)] == said
