"""From what was typed to a plan and its jobs. Raises ConfigError naming the option."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from interlock_server import __version__
from interlock_server.audit.reader import time_range, units
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from interlock_server.errors import ConfigError

from interlock_lab.replay.figures import Figures
from interlock_lab.replay.redecide import Job, Plan, Wanted
from interlock_lab.replay.tally import At

KEY_SIZE = 32


@dataclass(frozen=True)
class Options:
    """What was typed."""

    logs: tuple[Path, ...]
    policy: str | None = None
    profile: str | None = None
    bundle: Path | None = None
    any_bundle: bool = False
    rescore: Path | None = None
    target: str | None = None
    speed: str = "1"
    shadow: str | None = None
    since: str | None = None
    until: str | None = None
    caller: str | None = None
    category: str | None = None
    engine: str = "local"
    ray_address: str | None = None
    workers: int | None = None
    private_key: Path | None = None

    @property
    def mode(self) -> str:
        """How verdicts come about."""
        given = [mode for mode in ("rescore", "target", "shadow") if getattr(self, mode) is not None]
        if len(given) > 1:
            raise ConfigError(f"replay: give one of {', '.join(f'--{mode}' for mode in given)}")
        return given[0] if given else "redecide"


@dataclass(frozen=True)
class Task:
    """All that is to be done."""

    options: Options
    bundle: Bundle
    plan: Plan
    policy_file: Path | None
    jobs: tuple[Job, ...]
    missing: tuple[At, ...]
    """Segments that are not there, between others that are."""

    @property
    def described(self) -> Figures:
        """The plan, as the report states it."""
        options, plan = self.options, self.plan
        return {
            "mode": options.mode,
            "logs": [str(log) for log in options.logs],
            "bundle": self.bundle.digest,
            "policy": plan.policy.name,
            "policy_digest": plan.policy.digest,
            "profile": plan.profile,
            "any_bundle": plan.any_bundle,
            "shadow": plan.shadow,
            "target": options.target,
            "wanted": asdict(plan.wanted),
        }

    @property
    def digest(self) -> str:
        """Of everything that the figures depend on."""
        identities = [
            [job.log, str(job.unit.path.resolve()), job.unit.segment, job.unit.first_line, job.unit.group,
             job.unit.size_bytes, (job.unit.previous or b"").hex()]
            for job in self.jobs
        ]  # fmt: skip
        content = json.dumps([__version__, self.described, self.options.private_key is not None, identities])
        return hashlib.sha256(content.encode()).hexdigest()


def task(options: Options) -> Task:
    """What these options ask for."""
    _check(options)
    path = options.rescore or options.bundle or DEFAULT_BUNDLE
    bundle = load_bundle(path, DEFAULT_BUNDLE_DIGEST if path == DEFAULT_BUNDLE else None)
    policy_file, profile = None, options.profile
    if options.policy is not None and options.policy in bundle.policy.profiles:
        profile = options.policy
    elif options.policy is not None:
        policy_file = Path(options.policy)
        if not policy_file.is_file():
            raise ConfigError(f"--policy: is neither a file nor one of {', '.join(sorted(bundle.policy.profiles))}")
        bundle = load_bundle(path, bundle.digest, policy_file)
    policy = bundle.policy
    if profile is not None and profile not in policy.profiles and options.mode != "target":
        raise ConfigError(f"--profile: the policy has {', '.join(sorted(policy.profiles))}")
    if options.category is not None and options.category not in bundle.manifest.categories:
        raise ConfigError(f"--category: the bundle has {', '.join(bundle.manifest.categories)}")
    wanted = Wanted(_time(options.since, "since"), _time(options.until, "until"), options.caller, options.category)
    plan = Plan(policy, bundle.digest, options.any_bundle, profile, options.shadow, wanted)
    jobs = [Job(number, unit) for number, log in enumerate(options.logs) for unit in units(log)]
    asked = tuple(job for job in jobs if _may_hold(job, wanted))
    return Task(options, bundle, plan, policy_file, asked, _missing(jobs))


def speed_of(text: str) -> float | None:
    """A multiple of the recorded pace; None for `max`."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError("--speed: must be a number above 0, or max")
    return speed


def read_key(path: Path | None) -> bytes | None:
    """The private key of kept texts, in hex; its content is in no message."""
    if path is None:
        return None
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ConfigError(f"--private-key: {path}: {error.strerror}") from error
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise ConfigError(f"--private-key: {path}: must hold {KEY_SIZE} bytes in hex")
    return key


def _check(options: Options) -> None:
    """What does not go together."""
    mode = options.mode
    policy_given = options.policy is not None or options.profile is not None
    refused = {
        "--engine ray: models and servers are asked from one process": options.engine == "ray"
        and mode in ("rescore", "target"),
        "--policy: a shadow policy decided at the time": mode == "shadow" and policy_given,
        "--policy: a server has its own; name one of its profiles with --profile": mode == "target"
        and options.policy is not None,
        "--bundle: --rescore names the bundle": mode == "rescore" and options.bundle is not None,
        "--policy, --profile: give one": options.policy is not None
        and options.profile is not None
        and not _is_file(options),
    }
    for message, holds in refused.items():
        if holds:
            raise ConfigError(message)
    if len({log.resolve() for log in options.logs}) < len(options.logs):
        raise ConfigError("LOG: one is named twice, and would count twice")


def _is_file(options: Options) -> bool:
    return options.policy is not None and Path(options.policy).is_file()


def _missing(jobs: Sequence[Job]) -> tuple[At, ...]:
    """Retention deletes from the beginning; whatever else is not there has been lost."""
    pairs = pairwise(jobs)
    gaps = ((a.log, range(a.unit.segment + 1, b.unit.segment)) for a, b in pairs if a.log == b.log)
    return tuple(At(log, segment, 0) for log, gap in gaps for segment in gap)


def _may_hold(job: Job, wanted: Wanted) -> bool:
    if wanted.since_ns is None and wanted.until_ns is None:
        return True
    times = time_range(job.unit)
    if times is None:
        return True
    return times[1] >= (wanted.since_ns or 0) and (wanted.until_ns is None or times[0] < wanted.until_ns)


def _time(text: str | None, option: str) -> int | None:
    """A moment in nanoseconds; without a zone it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--{option}: must be a time such as 2026-01-31 or 2026-01-31T12:00:00+01:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
