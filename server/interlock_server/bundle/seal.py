"""Writes the manifest of a bundle: the last step of building one. Whoever seals vouches; loading only compares."""

import json
from pathlib import Path
from typing import Any

from interlock_server.bundle.load import MANIFEST, file_digest, load_bundle
from interlock_server.bundle.manifest import Manifest
from interlock_server.strict import validate


def seal(path: Path, content: dict[str, Any]) -> str:
    """Writes manifest.json with the digests of all files in `path`, loads the result, and returns the bundle's digest.

    `content` is the manifest without `format` and `files`. Raises BundleError or ConfigError when that is no bundle.
    """
    write_manifest(path, content)
    return load_bundle(path).digest


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """The same for a bundle that need not load, such as one whose training story is refuted."""
    files = {file.name: file_digest(file) for file in sorted(path.iterdir()) if file.name != MANIFEST}
    manifest = validate(Manifest, {"format": 1, **content, "files": files}, MANIFEST)
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    (path / MANIFEST).write_text(text, encoding="utf-8")
