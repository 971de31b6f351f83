"""What a configuration names, opened: mistakes that would only show as withheld verdicts are refused, with their place."""

from typing import Any

import pytest
from interlock_server.errors import ConfigError
from interlock_server.reload.opening import Opened, files_of, fingerprint, open_files

from .samples import LENIENT, STRICT, Files, policy


def opened(files: Files) -> Opened:
    return open_files(files.read().bundle, None)


def refused(files: Files) -> str:
    with pytest.raises(ConfigError) as caught:
        opened(files)
    return str(caught.value)


def gated(content: dict[str, Any]) -> dict[str, Any]:
    """The same with a gate."""
    return {**content, "profiles": {"balanced": {**content["profiles"]["balanced"], "ood_alpha": 0.01}}}


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """The same with its profile under another name."""
    return {**content, "default_profile": "other", "profiles": {"other": content["profiles"]["balanced"]}}


@pytest.mark.parametrize(
    ("shadow", "said"),
    [
        (gated(STRICT), "profiles.balanced.ood_alpha: no member that the policy requires has a gate"),
        (STRICT, "requires gamma, which is not asked; name it under `shadow`"),
        ({**STRICT, "format": 2}, "other.yaml: format"),
    ],
)
def test_a_shadow_policy_that_could_only_withhold_is_refused(files: Files, shadow: dict[str, Any], said: str):
    """Its flips would say nothing about its dials."""
    files.write(policy(2.0, ["alpha", "beta"]))
    files.bundle["shadow_policies"] = {"other": files.write(shadow, "other")}

    assert refused(files).startswith("bundle.shadow_policies.other: ")
    assert said in refused(files)


def test_a_shadow_policy_may_require_what_only_watches(files: Files):
    """To see what requiring it would mean."""
    files.write(policy(2.0, ["alpha", "beta"], shadow=["gamma"]))
    files.bundle["shadow_policies"] = {"other": files.write(STRICT, "other")}

    assert ("alpha", "beta", "gamma") == opened(files).shadows["other"].required_members


@pytest.mark.parametrize("name", ["canary", "running"])
def test_a_shadow_policy_must_not_be_called_as_the_record_calls_another(files: Files, name: str):
    """One would overwrite the other."""
    files.bundle["shadow_policies"] = {name: files.write(STRICT, "other")}

    assert "the name is taken" in refused(files)


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (gated(STRICT), "ood_alpha"),
        (STRICT, "requires gamma, which the running policy does not"),
        (renamed(policy(1.0, ["alpha", "beta"])), "has no profile balanced"),
    ],
)
def test_a_canary_that_would_withhold_for_other_reasons_is_refused(files: Files, trial: dict[str, Any], said: str):
    """And its place is named."""
    files.write(policy(2.0, ["alpha", "beta"]))
    files.canary(trial)

    assert refused(files).startswith("bundle.canary: ")
    assert said in refused(files)


def test_a_file_that_is_not_there_is_a_change_too(files: Files):
    """Of the manifest and of everything that is named; not of files that nobody named."""
    files.canary()
    paths = files_of(files.read().bundle)
    found = [fingerprint(paths)]
    (files.path / "other.yaml").write_text("")
    assert found == [fingerprint(paths)]
    (files.path / "trial.yaml").unlink()
    found.append(fingerprint(paths))
    files.write(LENIENT, "trial")
    found.append(fingerprint(paths))

    assert ["manifest.json", "policy.yaml", "trial.yaml"] == [path.name for path in paths]
    assert 3 == len(set(found))
