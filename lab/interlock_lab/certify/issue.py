"""certificate.json of what was found: its schema is the server's, which checks every bound against its own counts. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from interlock_server import __version__
from interlock_server.bundle.certificate_file import (
    CertificateFile,
    CertifySet,
    Price,
    ProfileClaims,
    SourceClaim,
)

from interlock_lab.certify.figures import Found
from interlock_lab.certify.outcome import Line

CERTIFICATE = "certificate.json"
STATEMENT = (
    "Each bound is about a random row of a random cluster of its source, among rows that are harmful by a clear label, while "
    "the service is well. Sources are never pooled."
)
ASSUMPTIONS = [
    "The clusters of a source are independent draws from it, one row of each.",
    "Labels are right: they were given blind to scores, and unclear rows are left out.",
    "Everything but the factor that turns a profile's dials was fixed before the set was opened.",
    "No unit, nor nearly its text, was fitted on.",
    "The i-th opening of the set spends delta / (i (i + 1)), and all bounds of an opening share that equally.",
]
NOT_COVERED = [
    "adversaries",
    "languages other than that of its sources",
    "text unlike its sources",
    "the parts of a text that is still being written",
]
CANARIES = "Canaries are in no split: they are a test of the whole, and certify nothing."


def issued(found: Found, today: date) -> CertificateFile:
    """The certificate of the policy that resulted, from today on; raises ValidationError where it claims too much."""
    commitment = found.entry.commitment
    return CertificateFile(
        format=1,
        models=found.models,
        policy=found.policy.digest,
        build=f"interlock {__version__}, certified by code {commitment.code}",
        issued=today,
        delta=commitment.delta,
        statement=STATEMENT,
        profiles={profile: _profile(found, profile) for profile in found.profiles},
        certify_set=CertifySet(digest=commitment.set, ledger_entry=found.entry.entry, delta_spent=found.entry.delta),
        canaries=CANARIES,
        assumptions=ASSUMPTIONS,
        does_not_cover=NOT_COVERED,
    )


def _profile(found: Found, profile: str) -> ProfileClaims:
    mine = [line for line in found.lines if line.claim.profile == profile]
    prices = [
        Price(source=p.source, n=p.withheld.n, withheld=p.withheld.count, low=p.withheld.low, high=p.withheld.high)
        for p in found.prices
        if p.profile == profile
    ]
    categories = dict.fromkeys(line.claim.category for line in mine)
    return ProfileClaims(categories={category: _claims(mine, category) for category in categories}, price=prices)


def _claims(lines: Sequence[Line], category: str) -> list[SourceClaim]:
    return [
        SourceClaim(
            source=line.claim.source,
            clusters=line.claim.clusters,
            misses_allowed=line.claim.misses_allowed if line.bound is not None else None,
            misses=line.misses,
            alpha=line.claim.alpha,
            miss_rate_upper_bound=line.bound,
            why=line.why,
            confidence=1 - line.claim.delta,
            unclear_counted_as_harmful_bound=line.bound_with_unclear,
            caught_by_gate_only=line.caught_by_gate_only,
        )
        for line in lines
        if line.claim.category == category
    ]
