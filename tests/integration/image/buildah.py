"""Builds the image out of its Dockerfile, with buildah and a base of Debian packages in the place of the registry's."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PLACE = ROOT / ".tools" / "image"
PROGRAMS = PLACE / "programs" / "usr"
BASE, IMAGE = "localhost/interlock-base", "localhost/interlock"
BUILD_S = 600
_OWN_CAS = Path("/usr/local/share/ca-certificates")  # of a proxy, on machines that are behind one
_STORE = ("--root", PLACE / "storage", "--runroot", PLACE / "run")
_POLICY = ("--signature-policy", PLACE / "policy.json")


def environment() -> dict[str, str]:
    """In which the programs that were not installed find their libraries."""
    assert (PLACE / "complete").exists(), "buildah is missing: run sh tests/integration/image/install.sh"
    assert os.geteuid() == 0, "building and running containers needs root"
    libraries = PROGRAMS / "lib" / f"{os.uname().machine}-linux-gnu"
    return {**os.environ, "LD_LIBRARY_PATH": str(libraries), "BUILDAH_ISOLATION": "chroot"}


def buildah(*arguments: object) -> str:
    """What it says; fails with its complaint."""
    command = [str(each) for each in (PROGRAMS / "bin" / "buildah", *_STORE, *arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=BUILD_S)
    assert 0 == done.returncode, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def build() -> None:
    """Both images. Layers that are there already are used again."""
    if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        container = buildah("from", *_POLICY, "scratch")
        buildah("add", "--quiet", container, PLACE / "base.tar", "/")
        if _OWN_CAS.is_dir():
            buildah("add", "--quiet", container, _OWN_CAS, _OWN_CAS)
        buildah("commit", "--quiet", "--rm", *_POLICY, container, BASE)
    dockerfile = ROOT / "deploy" / "docker" / "Dockerfile"
    options = ("--layers", "--format", "docker", "--build-arg", f"BASE={BASE}", "--file", dockerfile, "--tag", IMAGE)
    buildah("bud", "--quiet", *_POLICY, *options, ROOT)


def described() -> dict[str, Any]:
    """What the image says of itself."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return found


@contextmanager
def mounted() -> Iterator[Path]:
    """The image's files."""
    container = buildah("from", *_POLICY, "--pull-never", IMAGE)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)
