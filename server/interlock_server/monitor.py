"""Watches what the filter finds, and makes it conservative once traffic is no longer what was attested.

`observe` runs on the event loop and touches no file. `run` reads the files again and writes a latch to disk, in a thread.
"""

import asyncio
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from interlock_server.assurance.drift import Conversations, Distance, DriftDetector, statistics_of
from interlock_server.assurance.strictness import at_least_as_strict
from interlock_server.decision.policy import Policy
from interlock_server.drift_files import (
    BaselineFile,
    Clearing,
    DriftSettings,
    Latch,
    StateFile,
    read_baseline,
    read_refutation,
    read_state,
    write,
)
from interlock_server.errors import ConfigError
from interlock_server.log import log_event, log_failure
from interlock_server.metrics import Metrics
from interlock_server.screening import Request, Screening

UNREADABLE = "the state cannot be read"
_CONVERSATIONS_MAX = 16_384
_KEY_BYTES = 2_048


class Versions(NamedTuple):
    """What a baseline and a certificate are bound to."""

    bundle: str
    policy: str
    certificate: str = ""


class _Found(NamedTuple):
    """What the files say."""

    baseline: BaselineFile | None
    state: StateFile | None
    refuted: bool


class Monitor:
    """One per server. `latched` says why the service is conservative, `refuted` whether the certificate is."""

    def __init__(self, settings: DriftSettings, policy: Policy, versions: Versions, metrics: Metrics) -> None:
        """Reads the files; raises ConfigError when there is no such profile or the baseline cannot be read."""
        self._settings = settings
        self._policy = policy
        self._versions = versions
        self._metrics = metrics
        self._members = frozenset(policy.required_members)
        self._keeps = _profiles_kept(policy, settings)
        self._baseline: BaselineFile | None = None
        self._detector: DriftDetector | None = None
        self._conversations = Conversations(_CONVERSATIONS_MAX)
        self._shown: Mapping[str, Distance] = {}
        self._news = asyncio.Event()
        self._retired = False
        self.latched: Latch | None = None
        self.refuted = False
        if settings.baseline is not None:
            read_baseline(Path(settings.baseline))
        self._adopt(self._settle())
        log_event("drift", armed=self._detector is not None, latched=self.latched is not None, refuted=self.refuted)

    @property
    def armed(self) -> bool:
        """Whether traffic is compared with a baseline."""
        return self._detector is not None

    def take_over(self, before: "Monitor") -> None:
        """Goes on where the one of the policy before ends: its latch holds until the files clear it, and what it has seen
        of the same policy counts.
        """
        before._retired = True
        same = before._versions[:2] == self._versions[:2] and before._baseline == self._baseline
        if same and before._detector is not None:
            self._detector, self._shown, self._conversations = before._detector, before._shown, before._conversations
        before._detector = None
        if before.latched is not None and self.latched is None:
            self._latch(before.latched)

    @property
    def conservative(self) -> bool:
        """Whether nothing at all is to be released."""
        return self.latched is not None and self._settings.action == "withhold"

    def tightened(self, request: Request) -> Request:
        """What is asked, under the profile that holds now. A profile that the policy does not have stays what it is."""
        if self.latched is None or self._settings.action == "withhold":
            return request
        asked = request.profile or self._policy.default_profile
        if asked in self._keeps or asked not in self._policy.profiles:
            return request
        return replace(request, profile=self._settings.profile)

    def observe(self, request: Request, screening: Screening) -> None:
        """Takes note of an answer, once for each; never raises: a monitor that fails latches."""
        if self._detector is None or self.latched is not None:
            return
        try:
            self._metrics.drift_items.labels(self._observe(request, screening, self._detector)).inc()
            if self._detector.distances is not self._shown:
                self._show(self._detector)
        except Exception as error:
            log_failure("drift", error)
            self._latch(Latch(at=datetime.now(UTC), why="the monitor failed"))

    def _observe(self, request: Request, screening: Screening, detector: DriftDetector) -> str:
        evidence = screening.evidence
        # The margins of another profile are other numbers.
        usual = evidence.profile in ("", self._policy.default_profile)
        values = statistics_of(evidence, screening.verdict.margin if usual else None, self._members)
        if values is None:
            return "incomplete"
        if not self._conversations.is_new(_conversation(request)):
            return "repeated"
        return "counted" if detector.observe(request.caller, values) else "over_share"

    def _show(self, detector: DriftDetector) -> None:
        self._shown = detector.distances
        for name, distance in self._shown.items():
            self._metrics.drift_distance_lower_bound.labels(name).set(distance.lower_bound)
        name, distance = max(self._shown.items(), key=lambda item: item[1].lower_bound)
        if distance.lower_bound > self._settings.limit:
            self._latch(
                Latch(
                    at=datetime.now(UTC),
                    why="traffic is not what was attested",
                    baseline=self._baseline.digest if self._baseline else "",
                    statistic=name,
                    lower_bound=distance.lower_bound,
                    limit=self._settings.limit,
                    items=distance.items,
                )
            )

    def _latch(self, latch: Latch) -> None:
        self.latched = latch
        self._metrics.conservative_mode.set(1)
        self._news.set()
        log_event("drift_latched", **latch.model_dump(mode="json"))

    async def run(self) -> None:
        """Keeps the files and this in step, until it is cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.reread_s):
                        await self._news.wait()
                self._news.clear()
                await self._round()
        finally:
            if self._news.is_set():  # a latch that nobody has written yet
                self._settle()

    async def _round(self) -> None:
        latched = self.latched
        try:
            found = await asyncio.to_thread(self._settle)
            if self.latched is latched:  # else there is news again
                self._adopt(found)
        except Exception as error:  # what is in force stays in force
            log_failure("drift", error)

    def _settle(self) -> _Found:
        """Reads the files, and writes what follows from them; changes nothing here."""
        baseline = self._attested()
        state = None
        if self._settings.state is not None:
            path = Path(self._settings.state)
            stored = _stored(path)
            state = in_force(self.latched, stored, baseline)
            if state != stored:
                try:
                    write(path, state)
                except ConfigError as error:  # a latch holds all the same, a clearing does not
                    log_event("drift_state_unwritable", error=str(error))
                    latch = state.latched or self.latched or (stored and stored.latched)
                    state = StateFile(latched=latch or Latch(at=datetime.now(UTC), why=UNREADABLE))
        return _Found(baseline, state, self._is_refuted())

    def _attested(self) -> BaselineFile | None:
        """The baseline, if it is one of what is running; the last good one when it cannot be read any more."""
        if self._settings.baseline is None:
            return None
        try:
            found = read_baseline(Path(self._settings.baseline))
        except ConfigError as error:
            log_event("drift_baseline_unreadable", error=str(error))
            return self._baseline
        return found if (found.bundle, found.policy) == (self._versions.bundle, self._versions.policy) else None

    def _is_refuted(self) -> bool:
        if self._settings.refutation is None:
            return False
        try:
            found = read_refutation(Path(self._settings.refutation))
        except ConfigError as error:
            log_event("refutation_unreadable", error=str(error))
            return True
        return found is not None and found.certificate == self._versions.certificate and bool(found.refuted)

    def _adopt(self, found: _Found) -> None:
        """Does as the files say, and compares anew when the baseline is another or the latch was cleared. One whose policy
        is no longer in force compares nothing, and what it does is not shown.
        """
        was, self.latched = self.latched, found.state.latched if found.state else None
        self.refuted = found.refuted
        if found.state is not None and (was is None) != (self.latched is None):
            log_event("drift_state", **found.state.model_dump(mode="json", exclude_none=True))
        if self._retired:
            return
        cleared = was is not None and self.latched is None
        before, self._baseline = self._baseline, found.baseline
        if found.baseline is None:
            self._detector = None
        elif cleared or before is None or before.digest != found.baseline.digest:
            self._conversations = Conversations(_CONVERSATIONS_MAX)
            self._detector = DriftDetector(found.baseline.values, self._settings.false_latch_probability)
            self._shown = self._detector.distances
        self._metrics.drift_armed.set(self._detector is not None)
        self._metrics.conservative_mode.set(self.latched is not None)
        self._metrics.certificate_refuted.set(self.refuted)


def in_force(remembered: Latch | None, stored: StateFile | None, baseline: BaselineFile | None) -> StateFile:
    """What holds, given what this process knows, what is stored (None: nobody can tell) and what was attested.

    Only a clearing or another baseline, either of them later than the latch, ends it.
    """
    if stored is None:
        latch = remembered or Latch(at=datetime.now(UTC), why=UNREADABLE)
    elif stored.latched is not None:
        latch = stored.latched
    elif remembered is not None and stored.cleared is not None and remembered.at >= stored.cleared.at:
        latch = remembered
    else:
        return stored
    if baseline is not None and baseline.digest != latch.baseline and baseline.attested_at > latch.at:
        return StateFile(cleared=Clearing(by=baseline.attested_by, at=baseline.attested_at, baseline=baseline.digest))
    return StateFile(latched=latch)


def _stored(path: Path) -> StateFile | None:
    try:
        return read_state(path)
    except ConfigError as error:
        log_event("drift_state_unreadable", error=str(error), remedy="interlock drift clear")
        return None


def _conversation(request: Request) -> Hashable:
    """Who asks about what: candidates and new attempts have one prompt. Without a prompt every completion is one of its own."""
    text = request.prompt or request.completion
    return hash((request.caller, len(text), text[:_KEY_BYTES], text[-_KEY_BYTES:]))


def _profiles_kept(policy: Policy, settings: DriftSettings) -> frozenset[str]:
    """The profiles that are as strict as that of the latch, or stricter; raises ConfigError when it cannot be told."""
    if settings.state is None or settings.action == "withhold":
        return frozenset()
    strict = policy.profiles.get(settings.profile)
    if strict is None:
        known = ", ".join(sorted(policy.profiles))
        raise ConfigError(f"drift.profile: the policy has no profile {settings.profile!r}, but {known}")
    kept = {name for name, profile in policy.profiles.items() if at_least_as_strict(profile, strict)}
    for name, profile in policy.profiles.items():
        if name not in kept and not at_least_as_strict(strict, profile):
            raise ConfigError(f"drift.profile: {settings.profile!r} might release what {name!r} withholds")
    if policy.default_profile in kept:
        raise ConfigError(f"drift.profile: {settings.profile!r} is no stricter than the default profile")
    return frozenset(kept)
