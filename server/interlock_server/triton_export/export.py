"""Writes both folders: Triton's models, and the bundle whose members are asked there. Each is there whole or not at all."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundle.manifest import MemberManifest
from interlock_server.bundle.seal import seal
from interlock_server.errors import ConfigError
from interlock_server.triton_export.model_config import MODEL_FILE, VERSION, as_text, model_config
from interlock_server.triton_export.options import ExportOptions
from interlock_server.triton_export.tensors import tensors_of

MODEL_PY = Path(__file__).with_name("model.py")


def export(bundle: Bundle, models: Path, out: Path, options: ExportOptions) -> Bundle:
    """Models in `models`, and the new bundle, in `out`. Raises InterlockError, and leaves nothing behind then."""
    members = [member for member in bundle.manifest.members if member.backend == "onnx"]
    if not members:
        raise ConfigError(f"{bundle.path}: has no member with the backend onnx")
    for folder in (models, out):
        if folder.exists():
            raise ConfigError(f"{folder}: exists")
        folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=models.parent, prefix=".interlock-") as drafted_models,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".interlock-") as drafted_bundle,
    ):
        new_models, new_bundle = Path(drafted_models) / "models", Path(drafted_bundle) / "bundle"
        for member in members:
            _write_model(bundle, member, new_models / member.name, options)
        _write_bundle(bundle, members, new_bundle)
        new_models.rename(models)
        new_bundle.rename(out)
    return load_bundle(out)


def _write_model(bundle: Bundle, member: MemberManifest, folder: Path, options: ExportOptions) -> None:
    files = bundle.files(member)
    version = folder / str(VERSION)
    version.mkdir(parents=True)
    shutil.copyfile(files["model"], version / MODEL_FILE)
    if options.backend == "python":
        shutil.copyfile(MODEL_PY, version / MODEL_PY.name)
    digest = bundle.manifest.files[member.files["model"]]
    wait_ms = bundle.policy.latency_budget_ms
    config = model_config(member.name, tensors_of(member, files), options, wait_ms, digest)
    (folder / "config.pbtxt").write_text(as_text(config), encoding="utf-8")


def _write_bundle(bundle: Bundle, members: Sequence[MemberManifest], folder: Path) -> None:
    """A copy that has the models elsewhere; golden exchanges, maps and policy are what they were."""
    moved = {member.name: _moved(member) for member in members}
    content = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
    content["members"] = [moved.get(each["name"], each) for each in content["members"]]
    named = {content[role] for role in ("policy", "golden", "stories", "story_results", "certificate")}
    named |= {name for each in content["members"] for name in each["files"].values()}
    folder.mkdir()
    for name in bundle.manifest.files:
        if name in named:
            shutil.copyfile(bundle.path / name, folder / name)
    seal(folder, content)


def _moved(member: MemberManifest) -> dict[str, object]:
    """The entry of a member that runs on a Triton server under its own name."""
    entry = member.model_dump(mode="json")
    files = {role: name for role, name in entry["files"].items() if role != "model"}
    runs = {
        "remote_model": member.name,
        "remote_version": str(VERSION),
        "batch_tokens_max": member.runs.batch_tokens_max,
    }
    return {**entry, "backend": "triton", "files": files, "runs": runs}
