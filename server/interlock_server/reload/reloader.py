"""Puts another generation in force: built and checked beside the running one, swapped in one step, or not at all.

One change at a time. Calls end on the generation they began with, which is closed when the last of them is done.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from interlock_server.assurance.certificate import HOLDS
from interlock_server.bundle.load import Bundle
from interlock_server.config import Config
from interlock_server.errors import BackendError, ConfigError, InterlockError
from interlock_server.loading import certification
from interlock_server.log import log_alarm, log_event, log_failure
from interlock_server.operating import CanaryStatus, Outcome, Status
from interlock_server.reload.decree import Decree, Decrees
from interlock_server.reload.engine import Engine
from interlock_server.reload.generation import Generation, Surroundings, assemble
from interlock_server.reload.memory import free_memory, require_room
from interlock_server.reload.opening import Opened, aborted, files_of, fingerprint, open_files, promoted
from interlock_server.strict import Settings
from interlock_server.transport.serving import Serving

RETIRING_MAX = 8
_GOING = "the server goes away"
_UNSETTLED = "the files changed while they were read; reload again when nobody writes them any more"
_UNKEPT = "a restart undoes this unless the configuration says the same by then; reload.state would keep it"

Change = Callable[[], Coroutine[Any, Any, Outcome]]


class Reloader:
    """`start` it first; then whatever changes what is in force goes through it. `begin` is told of every new generation."""

    def __init__(
        self, config: Config, read: Callable[[], Config], around: Surroundings, begin: Callable[[Serving], None]
    ) -> None:
        self._config = config
        """As of the start, but for the bundle, which is that in force."""
        self._read = read
        self._around = around
        self._begin = begin
        self._decrees = Decrees(config.reload.state)
        self._current: Generation | None = None
        self._changing = asyncio.Lock()
        self._next: asyncio.Task[Outcome] | None = None
        self._changes: set[asyncio.Task[Outcome]] = set()
        self._retiring: dict[asyncio.Task[None], Generation] = {}
        self._going = asyncio.Event()
        self._last = Outcome("start", successful=True)

    async def start(self) -> Generation:
        """Puts the first generation in force. Raises InterlockError."""
        config, around = self._config, self._around
        await asyncio.to_thread(self._decrees.read)
        opened = await asyncio.to_thread(open_files, config.bundle, self._decrees.current)
        await asyncio.to_thread(self._decrees.forget_unless, opened.canary_digest)
        engine = await Engine.start(config, opened.bundle, around.metrics, around.cannot_heal)
        try:
            first = await assemble(config, opened, engine, around)
        except BaseException:
            await engine.panel.close()
            raise
        self._swap(first)
        self._last = Outcome("start", successful=True, notes=opened.notes)
        _settle_memory()
        return first

    async def stop(self) -> None:
        """Begins nothing more, and gives up what is under way; what is in force stays so."""
        self._going.set()
        for change in self._changes:
            change.cancel()
        await asyncio.gather(*self._changes, return_exceptions=True)

    async def close(self) -> None:
        """Frees what is in memory; for when no call is left."""
        await self.stop()
        await asyncio.gather(*self._retiring)
        if self._current is not None:
            await self._current.close()

    @property
    def current(self) -> Generation:
        """What is in force; there is something once it is started."""
        assert self._current is not None
        return self._current

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that made it, besides the configuration itself."""
        return files_of(self._config.bundle)

    @property
    def cannot_heal(self) -> asyncio.Event:
        """Set when so much hangs that the process should end."""
        return self._around.cannot_heal

    def status(self) -> Status:
        """What is in force, and what became of the last change."""
        safety_filter = self.current.filter
        return Status(
            safety_filter.digests,
            safety_filter.certification.state(),
            self._trial(),
            self._last,
            generations=1 + len(self._retiring),
            reloading=bool(self._changes),
        )

    async def reload(self, cause: str) -> Outcome:
        """Reads everything again."""
        return await self._outcome(cause, self.ask(cause))

    def ask(self, cause: str) -> asyncio.Task[Outcome]:
        """The same without waiting for it. Those who ask while one is under way share the next one."""
        if self._next is None:
            self._next = self._begin_change(cause, self._reread)
        return self._next

    async def promote(self, force: bool) -> Outcome:
        """Makes the policy on trial the running one, if it has seen enough."""
        return await self._outcome("promote", self._begin_change("promote", lambda: self._promote(force)))

    async def abort(self) -> Outcome:
        """Ends the trial."""
        return await self._outcome("abort", self._begin_change("abort", self._abort))

    def _begin_change(self, cause: str, change: Change) -> asyncio.Task[Outcome]:
        task = asyncio.create_task(self._attempt(cause, change))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return task

    async def _outcome(self, cause: str, change: asyncio.Task[Outcome]) -> Outcome:
        """Of a change, which goes on if nobody waits for it any more."""
        await asyncio.wait((change,))
        return _refused(cause, _GOING) if change.cancelled() else change.result()

    async def _attempt(self, cause: str, change: Change) -> Outcome:
        """What comes of a change, in its turn; whatever goes wrong leaves in force what is."""
        async with self._changing:
            if change == self._reread:
                self._next = None  # who asks from here on may have changed a file that was read already
            if self._going.is_set():
                return _refused(cause, _GOING)
            try:
                outcome = replace(await change(), cause=cause, at_unix_s=time.time())
            except InterlockError as error:
                outcome = _refused(cause, str(error))
            except Exception as error:
                log_failure("reload", error)
                outcome = _refused(cause, type(error).__name__)
            else:
                log_event("reloaded", **asdict(outcome), **self.current.named)
            self._last = outcome
            if change == self._reread:
                self._show(outcome)
            return outcome

    def _show(self, outcome: Outcome) -> None:
        metrics = self._around.metrics
        metrics.config_last_reload_successful.set(outcome.successful)
        if outcome.successful:
            metrics.config_last_reload_timestamp_seconds.set_to_current_time()

    async def _reread(self) -> Outcome:
        files = files_of((await asyncio.to_thread(self._read)).bundle)
        before = await asyncio.to_thread(fingerprint, files)
        config = await asyncio.to_thread(self._read)
        opened = await asyncio.to_thread(open_files, config.bundle, self._decrees.current)
        after = await asyncio.to_thread(fingerprint, files)
        if files_of(config.bundle) != files or before != after:
            raise ConfigError(_UNSETTLED)
        restart_needed = tuple(_differing(self._config, config, without="bundle"))
        if opened == self.current.opened:
            return Outcome(
                "", successful=True, notes=("nothing has changed", *opened.notes), restart_needed=restart_needed
            )
        config = self._config.model_copy(update={"bundle": config.bundle})
        built = await self._build(config, opened)
        self._config = config
        self._swap(built)
        notes = opened.notes + _losses(built)
        try:
            await asyncio.to_thread(self._decrees.forget_unless, opened.canary_digest)
        except ConfigError as error:
            notes += (str(error),)
        return Outcome("", successful=True, notes=notes, restart_needed=restart_needed)

    async def _promote(self, force: bool) -> Outcome:
        trial = self._trial()
        if trial is not None and not force and trial.tally.verdicts < trial.verdicts_min:
            raise ConfigError(
                f"bundle.canary.verdicts_min: it has seen {trial.tally.verdicts} verdicts of {trial.verdicts_min}; "
                "wait, or force it"
            )
        return await self._end_trial("promoted", promoted)

    async def _abort(self) -> Outcome:
        return await self._end_trial("aborted", aborted)

    async def _end_trial(self, verdict: Literal["promoted", "aborted"], change: Callable[[Opened], Opened]) -> Outcome:
        trial = self._trial()
        if trial is None:
            raise ConfigError("bundle.canary: no policy is on trial")
        opened = change(self.current.opened)
        built = await self._build(self._config, opened)
        try:
            await asyncio.to_thread(
                self._decrees.put, Decree(policy=trial.digest, verdict=verdict, at=datetime.now(UTC))
            )
        except BaseException:
            await built.close()
            raise
        self._swap(built)
        kept = () if self._decrees.kept else (_UNKEPT,)
        return Outcome("", successful=True, notes=opened.notes + kept + _losses(built))

    def _trial(self) -> CanaryStatus | None:
        canary, settings = self.current.filter.canary, self._config.bundle.canary
        if canary is None or settings is None:
            return None
        state, digest = canary.certification.state(), canary.digests.policy
        return CanaryStatus(canary.policy.name, digest, canary.share, state, canary.tally, settings.verdicts_min)

    async def _build(self, config: Config, opened: Opened) -> Generation:
        """Another generation beside the running one, checked and warm; raises InterlockError."""
        _require_certificate(opened.bundle)
        shared = self.current.engine.serves(opened.bundle)
        await self._make_way(shared)
        if shared:
            return await assemble(config, opened, self.current.engine, self._around, self.current)
        engine = await self._load(config, opened.bundle)
        try:
            return await assemble(config, opened, engine, self._around, self.current)
        except BaseException:
            await engine.panel.close()
            raise

    async def _load(self, config: Config, bundle: Bundle) -> Engine:
        settings = config.reload
        free_bytes = await asyncio.to_thread(free_memory)
        await asyncio.to_thread(require_room, bundle, settings.memory_factor, free_bytes)
        try:
            async with asyncio.timeout(settings.load_s):
                return await Engine.start(config, bundle, self._around.metrics, self._around.cannot_heal)
        except TimeoutError as error:
            raise BackendError("reload.load_s: the models were not loaded and checked in time") from error

    async def _make_way(self, shared: bool) -> None:
        """Waits until there are few generations, and no more than the models of the running one if others are to come."""
        engine = self.current.engine

        def crowded() -> bool:
            others = any(generation.engine is not engine for generation in self._retiring.values())
            return len(self._retiring) >= RETIRING_MAX or (others and not shared)

        while crowded():
            await asyncio.wait(self._retiring, return_when=asyncio.FIRST_COMPLETED)

    def _swap(self, generation: Generation) -> None:
        """The one step in which everything that is said and done follows the new generation."""
        before, self._current = self._current, generation
        self._begin(generation.serving)
        generation.announce(before)
        if before is not None:
            task = asyncio.create_task(self._retire(before))
            self._retiring[task] = before
            task.add_done_callback(self._retiring.pop)

    async def _retire(self, generation: Generation) -> None:
        """Closes it once nobody uses it; whoever still does when no call can be that old is withheld."""
        waits = [asyncio.create_task(event.wait()) for event in (generation.serving.unused, self._going)]
        age_max_s = self._config.transport.connection_age_grace_s
        done, waiting = await asyncio.wait(waits, timeout=age_max_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waiting:
            wait.cancel()
        if not done:
            log_alarm("generation_cut_off", calls=generation.serving.users, **generation.named)
        if await generation.close():
            _settle_memory()


def _refused(cause: str, why: str) -> Outcome:
    say = log_event if why is _GOING else log_alarm
    say("reload_refused", cause=cause, error=why)
    return Outcome(cause, successful=False, error=why)


def _require_certificate(bundle: Bundle) -> None:
    """A policy that would withhold everything is no improvement on any other."""
    state = certification(bundle).state()
    if bundle.policy.certificate_required and state not in HOLDS:
        raise ConfigError(f"certificate: the policy requires one, and it is {state}: everything would be withheld")


def _losses(generation: Generation) -> tuple[str, ...]:
    """What the operator has to see to, now that the policy is another one."""
    unarmed = generation.monitor is not None and not generation.monitor.armed
    return ("drift: no baseline of this bundle and policy is attested; traffic is not compared",) if unarmed else ()


def _differing(before: Settings, now: Settings, without: str = "") -> list[str]:
    """The names of settings that are not what they were."""
    found: list[str] = []
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(now, name)
        if old == new or name == without:
            continue
        inner = _differing(old, new) if isinstance(old, Settings) and type(old) is type(new) else []
        found += [f"{name}.{field}" for field in inner] or [name]
    return found


def _settle_memory() -> None:
    """What is in memory by now stays: without it every collection is short, and none of them stops all lanes for long."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
