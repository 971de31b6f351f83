"""How the certificate of what runs stands now: another day or a refutation, and its state is another."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from interlock_server.assurance.certificate import HOLDS, Bound, Certificate, in_words, state
from interlock_server.decision.evidence import CertificateState
from interlock_server.decision.policy import Policy
from interlock_server.log import log_alarm, log_event
from interlock_server.metrics import Metrics

_MINUTE_S = 60  # of Unix time: no minute belongs to two days


class Certification:
    """Asked for every verdict. `categories` are all that there are, certified or not; `refuted` is asked every time."""

    def __init__(
        self,
        certificate: Certificate | None,
        models: str,
        policy: Policy,
        categories: Sequence[str],
        refuted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._certificate = certificate
        self._models = models
        self._policy = policy
        self._categories = tuple(categories)
        self._refuted = refuted
        self._clock = clock
        self._announced = False
        # When this was found, and what.
        self._known: tuple[tuple[int, bool] | None, CertificateState] = (None, CertificateState.NONE)

    def state(self, profile: str = "") -> CertificateState:
        """What holds of a profile, the default one if it has no name. One without a single bound was never certified."""
        moment, before = (int(self._clock()) // _MINUTE_S, self._refuted()), self._known
        if moment != before[0]:
            self._known = moment, self._state(refuted=moment[1])
            if self._announced and self._known[1] is not before[1]:
                self._say()
        holds = self._known[1] in HOLDS
        return CertificateState.NONE if holds and not self._stated(profile) else self._known[1]

    def bounds(self, profile: str = "") -> Mapping[str, Bound]:
        """Category -> what may be claimed now; a category that is not there has no bound."""
        return self._stated(profile) if self.state(profile) in HOLDS else {}

    def in_words(self, profile: str = "") -> str:
        """The same as a text."""
        named = profile or self._policy.default_profile
        return in_words(self._certificate, self.state(profile), named, self._categories)

    @property
    def confidence(self) -> float:
        """With which all bounds hold together."""
        return self._certificate.confidence if self._certificate else 0.0

    def announce(self, metrics: Metrics) -> None:
        """From now on there are gauges, right whenever they are read, and the log has every change."""
        metrics.certificate_valid.set_function(lambda: self.state() in HOLDS)
        metrics.certificate_age_seconds.set_function(self._age_s)
        metrics.certificate_expires_timestamp_seconds.set(self._expires_unix_s())
        for category in self._categories:
            gauge = metrics.certificate_miss_rate_upper_bound.labels(category)
            gauge.set_function(partial(self._upper_bound, category))
        self.state()
        self._announced = True
        self._say()

    def _state(self, refuted: bool) -> CertificateState:
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        return state(self._certificate, self._models, self._policy.digest, today, refuted)

    def _stated(self, profile: str) -> Mapping[str, Bound]:
        everything = self._certificate.bounds if self._certificate else {}
        return everything.get(profile or self._policy.default_profile, {})

    def _say(self) -> None:
        """Loudly, unless it holds for long, or there never was one and none is required."""
        found, required = self.state(), self._policy.certificate_required
        quiet = found is CertificateState.VALID or (found is CertificateState.NONE and not required)
        say = log_event if quiet else log_alarm
        expires = str(self._certificate.expires) if self._certificate else None
        say("certificate", state=found, expires=expires, withholds_everything=required and found not in HOLDS)

    def _upper_bound(self, category: str) -> float:
        bound = self.bounds().get(category)
        return bound.miss_rate_upper_bound if bound else 1.0

    def _expires_unix_s(self) -> float:
        if self._certificate is None:
            return math.nan
        return datetime.combine(self._certificate.expires, datetime.min.time(), UTC).timestamp()

    def _age_s(self) -> float:
        if self._certificate is None:
            return math.nan
        return self._clock() - datetime.combine(self._certificate.issued, datetime.min.time(), UTC).timestamp()
