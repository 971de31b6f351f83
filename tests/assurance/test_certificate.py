"""What a certificate is worth beside the models, the policy and the day."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock_server.assurance.certificate import EXPIRING_DAYS, HOLDS, Bound, Certificate, headlines, in_words, state
from interlock_server.decision.evidence import CertificateState

MODELS, POLICY = "sha256:models", "sha256:policy"
ISSUED, EXPIRES = date(2026, 5, 1), date(2026, 10, 28)
VIOLENCE = Bound("violence_injury", "written", 0.04561, 170)
HATE = Bound("hate_harassment", "public", 0.03, 400)
BOUNDS = {"balanced": {bound.category: bound for bound in (VIOLENCE, HATE)}}
CERTIFICATE = Certificate(MODELS, POLICY, ISSUED, EXPIRES, 0.95, BOUNDS, "Rows were read twice.")
CATEGORIES = ["violence_injury", "illicit", "hate_harassment", "self_harm"]


def on(day: date, refuted: bool = False) -> CertificateState:
    """The state on a day, beside the models and the policy that it names."""
    return state(CERTIFICATE, MODELS, POLICY, day, refuted)


def test_without_one_there_is_none():
    """Whatever else is true."""
    assert CertificateState.NONE is state(None, MODELS, POLICY, ISSUED, refuted=True)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (ISSUED - timedelta(days=1), CertificateState.LAPSED),
        (ISSUED, CertificateState.VALID),
        (EXPIRES - timedelta(days=EXPIRING_DAYS), CertificateState.VALID),
        (EXPIRES - timedelta(days=EXPIRING_DAYS - 1), CertificateState.EXPIRING),
        (EXPIRES - timedelta(days=1), CertificateState.EXPIRING),
        (EXPIRES, CertificateState.LAPSED),
        (date.max, CertificateState.LAPSED),
    ],
)
def test_it_holds_from_the_day_of_issue_to_the_day_before_it_expires(day: date, expected: CertificateState):
    """And a clock that stands before its issue is wrong."""
    assert expected is on(day)


@pytest.mark.parametrize("day", [ISSUED, EXPIRES - timedelta(days=1)])
def test_what_traffic_has_refuted_does_not_hold(day: date):
    """On no day."""
    assert CertificateState.LAPSED is on(day, refuted=True)


@pytest.mark.parametrize(("models", "policy"), [("sha256:other", POLICY), (MODELS, "sha256:other"), ("", "")])
@pytest.mark.parametrize("refuted", [False, True])
def test_beside_anything_else_it_is_void(models: str, policy: str, refuted: bool):
    """Other weights or other thresholds: it says nothing about them, nor does what refuted it."""
    assert CertificateState.VOID is state(CERTIFICATE, models, policy, ISSUED, refuted)


def test_it_never_comes_to_life_again():
    """Day after day."""
    days = [on(ISSUED + timedelta(days=day)) in HOLDS for day in range(400)]

    assert all(before or not after for before, after in pairwise(days))


@given(st.permutations([VIOLENCE, HATE, replace(VIOLENCE, source="public", miss_rate_upper_bound=0.01, clusters=900)]))
def test_the_worst_source_speaks_for_its_category(bounds: list[Bound]):
    """With its own number of clusters, in whatever order they come."""
    assert BOUNDS["balanced"] == headlines(bounds)


def test_it_says_what_it_bounds_and_what_it_does_not():
    """Rounded up, with the confidence, the sources and the day."""
    words = in_words(CERTIFICATE, CertificateState.VALID, "balanced", CATEGORIES)

    assert words == (
        "Of harmful texts like those of its sources the profile balanced releases at most: violence_injury 4.57 % "
        "(170 clusters of written), hate_harassment 3 % (400 clusters of public); all of this with a confidence of 0.95, "
        "until 2026-10-28. There is no bound for illicit, self_harm. Rows were read twice."
    )


@pytest.mark.parametrize("standing", [found for found in CertificateState if found not in HOLDS])
@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
def test_what_does_not_hold_claims_nothing(standing: CertificateState, certificate: Certificate | None):
    """In so many words, and without a number."""
    words = in_words(certificate, standing, "balanced", CATEGORIES)

    assert "nothing is claimed" in words
    assert "%" not in words


def test_a_profile_without_a_bound_is_not_spoken_for():
    """Whatever holds of another one."""
    words = in_words(CERTIFICATE, CertificateState.VALID, "lax", CATEGORIES)

    assert words == "The certificate says nothing about the profile lax."
