"""Opens a bundle: every file is there, is the one whose digest the manifest states, and the manifest is the pinned one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock_server.bundle.certificate_file import CertificateFile, load_certificate
from interlock_server.bundle.manifest import GoldenExchange, Manifest, MemberManifest
from interlock_server.bundle.policy_file import load_policy
from interlock_server.bundle.stories import MemberStory, load_stories, refuse_refuted
from interlock_server.decision.policy import Policy
from interlock_server.errors import BundleError, ConfigError
from interlock_server.strict import read_mapping, validate

MANIFEST = "manifest.json"
GOLDEN_MIN = 8
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. `digest` is that of its manifest, which states the digests of all other files."""

    path: Path
    digest: str
    manifest: Manifest
    policy: Policy
    golden: tuple[GoldenExchange, ...]
    stories: Mapping[str, MemberStory] = field(default_factory=dict)
    certificate: CertificateFile | None = None
    """As it was read: it may well be of other models or another policy."""

    def files(self, member: MemberManifest) -> Mapping[str, Path]:
        """The files of one member by their role."""
        return {role: self.path / name for role, name in member.files.items()}

    def member_digest(self, member: MemberManifest) -> str:
        """Of one member's files and settings."""
        files = [self.manifest.files[name] for _, name in sorted(member.files.items())]
        return _sha256(json.dumps([member.model_dump(mode="json"), files], sort_keys=True).encode())

    @property
    def models_digest(self) -> str:
        """Of all members: what is said about models is bound to it, and never to the bundle that says it."""
        return _sha256(json.dumps([self.member_digest(member) for member in self.manifest.members]).encode())


def load_bundle(
    path: Path, digest: str | None = None, policy_path: Path | None = None, certificate_path: Path | None = None
) -> Bundle:
    """Opens and verifies the bundle in `path`; `policy_path` and `certificate_path` replace its policy and certificate.

    Raises BundleError when a file is missing, altered or not listed, when `digest` is given and is not the bundle's, or
    when a required member is refuted, and ConfigError when the manifest, the policy or the certificate contradicts itself.
    """
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(f"{path}: has no {MANIFEST}")
    actual = _sha256(manifest_path.read_bytes())
    if digest is not None and actual != digest:
        raise BundleError(f"{path}: is bundle {actual}, but {digest} is pinned")
    manifest = validate(Manifest, read_mapping(manifest_path), MANIFEST)
    _check_files(path, manifest)
    policy = load_policy(policy_path or path / manifest.policy, manifest)
    require_gate(policy, manifest)
    bundle = Bundle(path, actual, manifest, policy, _golden(path / manifest.golden, manifest))
    stated = certificate_path or (path / manifest.certificate if manifest.certificate else None)
    stories = load_stories(path, manifest, bundle.models_digest)
    refuse_refuted(stories, policy.required_members)
    return replace(bundle, stories=stories, certificate=load_certificate(stated) if stated else None)


def file_digest(path: Path) -> str:
    """The digest of a file as manifests state it."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _check_files(path: Path, manifest: Manifest) -> None:
    if missing := sorted(name for name in manifest.files if not (path / name).is_file()):
        raise BundleError(f"{path}: {', '.join(missing)} is missing")
    if extra := sorted({entry.name for entry in path.iterdir()} - {MANIFEST, *manifest.files}):
        raise BundleError(f"{path}: {', '.join(extra)} is not listed in {MANIFEST}")
    for name, stated in manifest.files.items():
        if file_digest(path / name) != stated:
            raise BundleError(f"{path / name}: does not have the digest that {MANIFEST} states; the file was altered")


def require_gate(policy: Policy, manifest: Manifest) -> None:
    """A policy that asks for p-values which nobody gives would withhold everything."""
    gated = manifest.gated_member
    for name, profile in policy.profiles.items():
        if profile.ood_alpha is not None and (gated is None or gated.name not in policy.required_members):
            raise ConfigError(f"profiles.{name}.ood_alpha: no member that the policy requires has a gate in the bundle")


def _golden(path: Path, manifest: Manifest) -> tuple[GoldenExchange, ...]:
    rows = []
    # By bytes: str.splitlines would also cut at line separators that JSON allows within a text.
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path.name}: line {number} is not JSON") from error
        rows.append(validate(GoldenExchange, content, f"{path.name}: line {number}"))
    if len(rows) < GOLDEN_MIN:
        raise BundleError(f"{path.name}: has {len(rows)} exchanges; at least {GOLDEN_MIN} are needed")
    for member in manifest.members:
        for number, row in enumerate(rows, 1):
            if set(row.scores.get(member.name, {})) != set(member.categories):
                raise BundleError(f"{path.name}: line {number} lacks scores of member {member.name}")
    return tuple(rows)
