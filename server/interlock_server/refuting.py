"""Joins labels with verdicts and the probabilities with which they were drawn, and bets them against a certificate.

Only what was drawn to be labelled counts: what callers report of their own accord is mostly misses, and would refute anything.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from interlock_server.assurance.certificate import Certificate
from interlock_server.assurance.eprocess import EProcess
from interlock_server.audit.reader import Damage, entries, units
from interlock_server.audit.record import FeedbackRecord, Record, VerdictRecord
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Decision
from interlock_server.drift_files import CategoryEvidence, RefutationFile
from interlock_server.errors import ConfigError


@dataclass(frozen=True)
class Claim:
    """What is to be refuted: the bounds of the default profile, for verdicts of this bundle and policy."""

    certificate: Certificate
    bundle_digest: str
    policy: Policy

    @property
    def digest(self) -> str:
        """Which certificate it is."""
        return certificate_digest(self.certificate)


@dataclass
class Labelled:
    """What was found in the logs of what had been drawn, in the order in which labels came."""

    verdicts: dict[str, VerdictRecord] = field(default_factory=dict)
    labels: dict[str, FeedbackRecord] = field(default_factory=dict)


def certificate_digest(certificate: Certificate) -> str:
    """Of everything that it says."""
    return "sha256:" + hashlib.sha256(repr(certificate).encode()).hexdigest()


def read_queues(paths: Sequence[Path]) -> Mapping[str, float]:
    """Verdict -> the probability with which it was drawn, from the lines of `interlock mine`. Raises ConfigError."""
    drawn: dict[str, float] = {}
    for path in paths:
        try:
            lines = [msgspec.json.decode(line, type=_Drawn) for line in path.read_bytes().splitlines()]
        except (OSError, ValueError) as error:  # its message may quote a text
            raise ConfigError(f"{path}: is not a queue of interlock mine") from error
        drawn |= {line.verdict_id: line.propensity for line in lines}
    if not drawn:
        raise ConfigError("--queue: nothing was drawn")
    return drawn


class _Drawn(msgspec.Struct):
    verdict_id: str
    propensity: Annotated[float, msgspec.Meta(gt=0, le=1)]


def labelled(folders: Sequence[Path], drawn: Mapping[str, float]) -> Labelled:
    """Verdicts and labels of what was drawn; the last label of each counts."""
    found = Labelled()
    for record in _records(folders):
        if isinstance(record, VerdictRecord) and record.verdict_id in drawn:
            found.verdicts[record.verdict_id] = record
        elif isinstance(record, FeedbackRecord) and record.verdict_id in drawn:
            found.labels[record.verdict_id] = record
    return found


def check(
    claim: Claim, found: Labelled, drawn: Mapping[str, float], known: RefutationFile | None, now: datetime, delta: float
) -> RefutationFile:
    """The bets on everything so far. What is `known` to be refuted stays so."""
    bounds = claim.certificate.bounds.get(claim.policy.default_profile, {})
    bets = {category: EProcess(bound.miss_rate_upper_bound) for category, bound in bounds.items()}
    counts = {category: [0, 0] for category in bets}
    least = min(drawn.values())
    for name, label in sorted(found.labels.items(), key=lambda item: item[1].time_unix_ns):
        verdict = found.verdicts.get(name)
        if verdict is None or label.label != "HARMFUL" or not _covered(verdict, claim):
            continue
        missed = verdict.decided.decision == Decision.RELEASE
        for category in set(label.categories) & set(bets):
            bets[category].observe(missed, least / drawn[name])
            counts[category][0] += 1
            counts[category][1] += missed
    refuted = {category for category, bet in bets.items() if bet.refutes(delta / len(bets))}
    if known is not None and known.certificate == claim.digest:
        refuted |= set(known.refuted)
    return RefutationFile(
        at=now,
        certificate=claim.digest,
        delta=delta,
        refuted=sorted(refuted),
        categories={
            category: CategoryEvidence(
                bound=bounds[category].miss_rate_upper_bound,
                harmful=counts[category][0],
                misses=counts[category][1],
                log_e_value=bet.log_peak,
            )
            for category, bet in bets.items()
        },
    )


def _covered(verdict: VerdictRecord, claim: Claim) -> bool:
    """Whether the certificate speaks of it: these models and thresholds, the default profile, and a healthy service."""
    evidence, digests = verdict.evidence, verdict.digests
    return (
        (digests.bundle, digests.policy) == (claim.bundle_digest, claim.policy.digest)
        and evidence.profile in ("", claim.policy.default_profile)
        and not evidence.alarms
        and all(item.missing is None for item in evidence.members)
    )


def _records(folders: Sequence[Path]) -> Iterator[Record]:
    for unit in (unit for folder in folders for unit in units(folder)):
        for entry in entries(unit):
            if not isinstance(entry, Damage):
                yield entry[1]
