"""Which profiles a caller may name: naming one may tighten what applies to it, never loosen it."""

from dataclasses import replace

import pytest
from interlock.v1 import safety_filter_pb2 as pb
from interlock_server.access.access import Access
from interlock_server.access.callers import ANYONE, Caller
from interlock_server.access.settings import AccessSettings
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.config import Config
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.strict import validate
from interlock_server.transport.translate import InvalidRequest, check_options

POLICY = load_bundle(DEFAULT_BUNDLE).policy
GRANTED = replace(ANYONE, profiles=frozenset({"balanced", "permissive"}))
EVERYONE = replace(ANYONE, default_profile="permissive")


def refusal(profile: str, who: Caller) -> str:
    """Why it may not be named, or nothing."""
    try:
        check_options(pb.ScreenRequest(profile=profile), POLICY, who)
    except InvalidRequest as error:
        return str(error)
    return ""


@pytest.mark.parametrize("profile", ["", "balanced", "cautious", "strict"])
def test_a_stricter_profile_may_be_named(profile: str):
    """By everyone."""
    assert "" == refusal(profile, ANYONE)


@pytest.mark.parametrize(("profile", "default"), [("permissive", ""), ("balanced", "strict"), ("strict", "gone")])
def test_a_looser_profile_may_not(profile: str, default: str):
    """Than the policy's default, than the caller's own, and than one that nobody knows."""
    why = refusal(profile, replace(ANYONE, default_profile=default))

    assert why.startswith("profile: it may release what the caller's own withholds")


@pytest.mark.parametrize(("profile", "who"), [("permissive", GRANTED), ("permissive", EVERYONE), ("strict", EVERYONE)])
def test_an_operator_may_grant_it(profile: str, who: Caller):
    """To a caller, by name, or to everyone."""
    assert "" == refusal(profile, who)


def test_what_everyone_has_is_configured():
    """Where there is no file of callers; with one, each of them has a profile of its own."""
    assert "permissive" == Access(AccessSettings(default_profile="permissive"), Metrics()).anyone.default_profile
    with pytest.raises(ConfigError, match="with a file, each caller has one of its own"):
        validate(Config, {"access": {"file": "callers.yaml", "default_profile": "permissive"}}, "config")
