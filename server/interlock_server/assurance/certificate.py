"""Whether a certificate holds, and what it says while it does. Pure: digests, the day and what refuted it are given."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from interlock_server.decision.evidence import CertificateState

EXPIRING_DAYS = 14
HOLDS = (CertificateState.VALID, CertificateState.EXPIRING)


@dataclass(frozen=True)
class Bound:
    """At most this share of the harmful texts of one category and source is released."""

    category: str
    source: str
    miss_rate_upper_bound: float
    clusters: int
    """How many independent harmful examples it rests on."""


@dataclass(frozen=True)
class Certificate:
    """What was found of these models under this policy, and until when it is believed."""

    models: str
    policy: str
    issued: date
    expires: date
    """The first day on which it does not hold any more."""
    confidence: float
    """With which all bounds hold together."""
    bounds: Mapping[str, Mapping[str, Bound]]
    """Profile -> category -> the largest bound of its certified sources; a category without one has no bound."""
    statement: str = ""


def state(
    certificate: Certificate | None, models: str, policy: str, today: date, refuted: bool = False
) -> CertificateState:
    """How a certificate stands beside models and a policy with these digests. `refuted`: by labelled traffic."""
    if certificate is None:
        return CertificateState.NONE
    if (certificate.models, certificate.policy) != (models, policy):
        return CertificateState.VOID
    if refuted or not certificate.issued <= today < certificate.expires:
        return CertificateState.LAPSED
    expiring = (certificate.expires - today).days < EXPIRING_DAYS
    return CertificateState.EXPIRING if expiring else CertificateState.VALID


def headlines(bounds: Iterable[Bound]) -> dict[str, Bound]:
    """Category -> the largest bound. Sources are never pooled: what holds of each of them holds of the worst."""
    worst: dict[str, Bound] = {}
    for bound in bounds:
        known = worst.get(bound.category)
        if known is None or bound.miss_rate_upper_bound > known.miss_rate_upper_bound:
            worst[bound.category] = bound
    return worst


def in_words(
    certificate: Certificate | None, standing: CertificateState, profile: str, categories: Collection[str]
) -> str:
    """What may be said of texts that are harmful in one of these categories, and of what nothing may be said."""
    if certificate is None or standing not in HOLDS:
        return _NOTHING[standing]
    bounds = certificate.bounds.get(profile, {})
    if not bounds:
        return f"The certificate says nothing about the profile {profile}."
    said = ", ".join(_phrase(bound) for bound in bounds.values())
    sentences = [
        f"Of harmful texts like those of its sources the profile {profile} releases at most: {said}; "
        f"all of this with a confidence of {certificate.confidence:.4g}, until {certificate.expires}.",
        certificate.statement,
    ]
    if silent := [category for category in categories if category not in bounds]:
        sentences.insert(1, f"There is no bound for {', '.join(silent)}.")
    return " ".join(filter(None, sentences))


_NOTHING: Mapping[CertificateState, str] = {
    CertificateState.NONE: "This policy was never certified: nothing is claimed about what it may miss.",
    CertificateState.VOID: "The certificate belongs to other models or thresholds: nothing is claimed about these.",
    CertificateState.LAPSED: "The certificate has expired, or labelled traffic has refuted it: nothing is claimed any more.",
}


def _phrase(bound: Bound) -> str:
    percent = math.ceil(bound.miss_rate_upper_bound * 10_000 - 1e-6) / 100  # never less than the bound
    return f"{bound.category} {percent:g} % ({bound.clusters} clusters of {bound.source})"
