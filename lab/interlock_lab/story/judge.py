"""From outcomes to a verdict on a claim: exact intervals, Bonferroni over all claims, and impostors that must fail. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock_server.bundle.stories import Claim, ClaimResult, ClaimState, ImpostorResult, Measured
from scipy.stats import binomtest

CONFIDENCE = 0.99
"""Of all intervals of a check together."""


def confidence_of(claims: int) -> float:
    """Of one interval among so many."""
    return 1 - (1 - CONFIDENCE) / max(1, claims)


def measured(hits: int, n: int, confidence: float) -> Measured:
    """The share with its exact interval; of no cases anything may be true."""
    if not n:
        return Measured(n=0, hits=0, low=0.0, high=1.0)
    interval = binomtest(hits, n).proportion_ci(confidence, method="exact")
    return Measured(n=n, hits=hits, low=float(interval.low), high=float(interval.high))


def refuted(found: Measured, claim: Claim) -> bool:
    """Whether the interval excludes what is claimed."""
    return found.high < claim.at_least


def judged(
    member: str,
    claim: Claim,
    mine: Sequence[bool],
    impostors: Mapping[str, Sequence[bool]],
    confidence: float,
    note: str = "",
) -> ClaimResult:
    """The result of a check that has run, of the member and of impostors. What refutes a member stands, void or not."""
    found = measured(sum(mine), len(mine), confidence)
    others = []
    for name, hits in impostors.items():
        theirs = measured(sum(hits), len(hits), confidence)
        others.append(ImpostorResult(name=name, measured=theirs, refuted=refuted(theirs, claim)))  # type: ignore[arg-type]
    exposed = {other.name for other in others if other.refuted}
    if not found.n:
        state = ClaimState.UNTESTED
    elif refuted(found, claim):
        state = ClaimState.REFUTED
    else:
        state = ClaimState.SUPPORTED if exposed >= set(claim.impostors) else ClaimState.VOID
    said = [*(f"{other.name} impostor {_said(other.measured, claim)}" for other in others), note]
    detail = f"{_said(found, claim)}, at {confidence:.3%}; " + "; ".join(filter(None, said))
    return ClaimResult(
        member=member,
        claim=claim.id,
        state=state,
        measured=found,
        impostors=others,
        detail=detail.removesuffix("; "),
        note=note,
    )


def recorded(member: str, claim: Claim, confidence: float) -> ClaimResult:
    """The result of a measurement that was made elsewhere: `n` and `hits` of it are parameters of the claim."""
    found = measured(int(claim.parameters["hits"]), int(claim.parameters["n"]), confidence)
    state = ClaimState.REFUTED if refuted(found, claim) else ClaimState.RECORDED
    detail = f"{_said(found, claim)}, recorded on {claim.parameters['date']}; no impostor was tried"
    return ClaimResult(member=member, claim=claim.id, state=state, measured=found, detail=detail)


def untested(member: str, claim: Claim, why: str) -> ClaimResult:
    """The result of not having looked."""
    return ClaimResult(member=member, claim=claim.id, state=ClaimState.UNTESTED, detail=why)


def _said(found: Measured, claim: Claim) -> str:
    if not found.n:
        return "no cases"
    share = f"{found.hits / found.n:.1%} of {found.n} ({found.low:.1%} to {found.high:.1%})"
    return f"{share}, {'refuted' if refuted(found, claim) else 'not refuted'} below {claim.at_least:.0%}"
