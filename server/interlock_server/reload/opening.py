"""From the configuration to checked values: the bundle in force, the policy on trial, the shadows. No model is loaded here."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock_server.bundle.load import MANIFEST, Bundle, load_bundle, require_gate
from interlock_server.bundle.policy_file import load_policy
from interlock_server.config import BundleSettings
from interlock_server.decision.policy import Policy
from interlock_server.errors import ConfigError, InterlockError
from interlock_server.reload.decree import Decree

_RESERVED = "canary", "running"
_NOTES = {
    "promoted": "bundle.canary was promoted: say bundle.policy and bundle.certificate instead of it in the configuration",
    "aborted": "bundle.canary was aborted: remove it from the configuration",
}


@dataclass(frozen=True)
class Opened:
    """Everything that a generation is made of, but for the models in memory. `canary` is a bundle with another policy."""

    settings: BundleSettings
    bundle: Bundle
    shadows: Mapping[str, Policy]
    canary: Bundle | None = None
    canary_digest: str = ""
    """Of the policy that the configuration puts on trial, also when it was promoted or aborted."""
    notes: tuple[str, ...] = field(default=(), compare=False)


def open_files(settings: BundleSettings, decree: Decree | None) -> Opened:
    """Reads and verifies all that the settings name; raises InterlockError."""
    running = _bundle(settings, settings.policy, settings.certificate)
    trial, digest, notes = None, "", []
    if settings.canary is not None:
        with _within("bundle.canary"):
            trial = _bundle(settings, settings.canary.policy, settings.canary.certificate)
        digest = trial.policy.digest
        if decree is not None and decree.policy == digest:
            if decree.verdict == "promoted":
                running = trial
            trial = None
            notes.append(_NOTES[decree.verdict])
        else:
            with _within("bundle.canary"):
                _check_trial(trial.policy, running.policy)
    shadows = {name: _shadow(name, Path(path), running) for name, path in settings.shadow_policies.items()}
    return Opened(settings, running, shadows, trial, digest, tuple(notes))


def promoted(opened: Opened) -> Opened:
    """With the policy on trial in force, as it was read when the trial began; raises ConfigError."""
    assert opened.canary is not None
    for name, policy in opened.shadows.items():
        with _within(f"bundle.shadow_policies.{name}"):
            _check_asked(policy, opened.canary.policy)
    return replace(opened, bundle=opened.canary, canary=None, notes=(_NOTES["promoted"],))


def aborted(opened: Opened) -> Opened:
    """Without a policy on trial."""
    return replace(opened, canary=None, notes=(_NOTES["aborted"],))


def files_of(settings: BundleSettings) -> tuple[Path, ...]:
    """The files whose change means a reload; the manifest stands for all others of its bundle."""
    named = [settings.policy, settings.certificate, *settings.shadow_policies.values()]
    if settings.canary is not None:
        named += [settings.canary.policy, settings.canary.certificate]
    return (Path(settings.path) / MANIFEST, *(Path(name) for name in named if name is not None))


def fingerprint(paths: tuple[Path, ...]) -> str:
    """Of the contents of files; one that cannot be read has a fingerprint too."""
    hasher = hashlib.sha256()
    for path in paths:
        try:
            hasher.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            hasher.update(f"{error.errno}".encode())
    return hasher.hexdigest()


def _bundle(settings: BundleSettings, policy: str | None, certificate: str | None) -> Bundle:
    stated = Path(certificate) if certificate else None
    return load_bundle(Path(settings.path), settings.digest, Path(policy) if policy else None, stated)


def _check_trial(trial: Policy, running: Policy) -> None:
    """What would make a trial withhold for another reason than its dials."""
    if unasked := sorted(set(trial.required_members) - set(running.required_members)):
        raise ConfigError(
            f"requires {', '.join(unasked)}, which the running policy does not; a reload can, without trial"
        )
    if lost := sorted(set(running.profiles) - set(trial.profiles)):
        raise ConfigError(f"has no profile {', '.join(lost)}, which callers of the running policy may name")


def _shadow(name: str, path: Path, running: Bundle) -> Policy:
    with _within(f"bundle.shadow_policies.{name}"):
        if name in _RESERVED:
            raise ConfigError("the name is taken")
        policy = load_policy(path, running.manifest)
        require_gate(policy, running.manifest)
        _check_asked(policy, running.policy)
        return policy


def _check_asked(shadow: Policy, running: Policy) -> None:
    if unasked := sorted(set(shadow.required_members) - set(running.members)):
        missing = ", ".join(unasked)
        raise ConfigError(f"requires {missing}, which is not asked; name it under `shadow` in the running policy")


@contextmanager
def _within(field: str) -> Iterator[None]:
    """Says in which setting an error lies."""
    try:
        yield
    except InterlockError as error:
        raise type(error)(f"{field}: {error}") from error
