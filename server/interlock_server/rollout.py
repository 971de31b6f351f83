"""A policy that is tried on live traffic, the canary. It may withhold what the running policy releases, never the other way.

It is asked about everything and counted like a shadow; only for a share of the conversations does its WITHHOLD count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from interlock_server.audit.record import Digests
from interlock_server.certification import Certification
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Verdict
from interlock_server.metrics import Metrics
from interlock_server.screening import Request

CANARY, RUNNING = "canary", "running"
"""Under which names a record holds the verdict that was not given."""
_KEY_BYTES = 2_048


@dataclass(frozen=True)
class Ruling:
    """The verdict that counts, on which evidence and under which versions, and what another policy would have said."""

    evidence: Evidence
    verdict: Verdict
    digests: Digests
    others: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass
class Tally:
    """What a canary has said of whole texts so far."""

    agreed: int = 0
    enforced: int = 0
    """Withheld, although the running policy would have released."""
    stricter: int = 0
    """The same outside of the share: released all the same."""
    looser: int = 0
    """It would have released what was withheld."""

    @property
    def verdicts(self) -> int:
        """All of them."""
        return self.agreed + self.enforced + self.stricter + self.looser


class Canary:
    """One policy on trial. `certification` is its own: the certificate of the running policy says nothing about it."""

    def __init__(
        self,
        policy: Policy,
        share: float,
        certification: Certification,
        digests: Digests,
        metrics: Metrics,
        tally: Tally | None = None,
    ) -> None:
        self.policy = policy
        self.share = share
        self.certification = certification
        self.digests = digests
        self.tally = tally or Tally()
        self._metrics = metrics

    def weigh(self, request: Request, running: Ruling) -> Ruling:
        """The running policy's ruling, or the canary's where that is stricter and is to count."""
        if running.evidence.alarms:  # they withhold under every policy
            return running
        evidence = replace(running.evidence, certificate=self.certification.state(request.profile))
        verdict = decide(evidence, self.policy)
        stricter = running.verdict.released and not verdict.released
        enforced = stricter and self.chosen(request)
        if not request.partial:  # a stream is one verdict, not as many as it has sentences
            self._count(running.verdict, verdict, enforced)
        if enforced:
            return Ruling(evidence, verdict, self.digests, {RUNNING: running.verdict})
        return replace(running, others={CANARY: verdict})

    def chosen(self, request: Request) -> bool:
        """Whether its conversation is in the share: always the same, on every replica, until the policy is another."""
        hashed = blake2b(_conversation(request), key=self.digests.policy.encode()[:64], digest_size=8).digest()
        return int.from_bytes(hashed) < self.share * 2**64

    def _count(self, running: Verdict, verdict: Verdict, enforced: bool) -> None:
        result = "enforced" if enforced else _RESULTS[running.released, verdict.released]
        setattr(self.tally, result, getattr(self.tally, result) + 1)
        self._metrics.rollout_decisions.labels(self.policy.name, result).inc()


_RESULTS = {(True, True): "agreed", (False, False): "agreed", (True, False): "stricter", (False, True): "looser"}


def _conversation(request: Request) -> bytes:
    """A stream, or who asks about what: candidates and new attempts have one prompt."""
    if request.stream is not None:
        return request.stream.stream_id.encode()
    text = request.prompt or request.completion
    return b"\0".join((request.caller.encode(), b"%d" % len(text), text[:_KEY_BYTES], text[-_KEY_BYTES:]))
