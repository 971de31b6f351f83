"""Changing a bundle: a copy is edited, sealed and loaded, and only then takes the place of what was there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import GoldenExchange
from interlock_server.bundle.seal import seal
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.errors import ConfigError
from interlock_server.strict import read_mapping


@dataclass
class Draft:
    """An unsealed copy of a bundle: its folder, and the contents of its manifest, policy and golden exchanges."""

    path: Path
    manifest: dict[str, Any]
    policy: dict[str, Any]
    golden: Sequence[GoldenExchange]

    def seal(self) -> Bundle:
        """Writes and seals what was changed; raises BundleError or ConfigError when that is no bundle."""
        policy = self.path / self.manifest["policy"]
        as_json = policy.suffix == ".json"
        policy.write_text(json.dumps(self.policy) if as_json else yaml.safe_dump(self.policy, sort_keys=False))
        golden = "".join(row.model_dump_json() + "\n" for row in self.golden)
        (self.path / self.manifest["golden"]).write_text(golden, encoding="utf-8")
        seal(self.path, self.manifest)
        return load_bundle(self.path)


@contextmanager
def edited(bundle: Path, out: Path | None) -> Iterator[Draft]:
    """A draft that becomes `out`, or replaces the bundle, once the block has ended without an error."""
    out = out or bundle
    _check_target(bundle, out)
    loaded = load_bundle(bundle)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".interlock-") as folder:
        path = Path(folder) / "draft"
        shutil.copytree(bundle, path)
        manifest = loaded.manifest.model_dump(mode="json", exclude={"format", "files"})
        yield Draft(path, manifest, dict(read_mapping(path / loaded.manifest.policy)), loaded.golden)
        if out.exists():
            out.rename(Path(folder) / "replaced")
        path.rename(out)


def _check_target(bundle: Path, out: Path) -> None:
    if out.resolve() == DEFAULT_BUNDLE.resolve():
        raise ConfigError("--out: the bundle that ships is pinned by its digest; name another folder")
    if out.exists() and out.resolve() != bundle.resolve():
        raise ConfigError(f"--out: {out} exists")
