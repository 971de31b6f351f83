"""The monitor: when it latches, what it keeps on disk, what ends it, and that nothing it cannot know is taken for good."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from decision.samples import evidence, said
from fakes import policy_content, write_bundle
from interlock_server.assurance.drift import Quantiles
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision.policy import Policy
from interlock_server.decision.verdict import Verdict
from interlock_server.drift_files import (
    BaselineFile,
    CategoryEvidence,
    Clearing,
    DriftSettings,
    Latch,
    QuantilesFile,
    RefutationFile,
    StateFile,
    read_baseline,
    read_state,
    write,
)
from interlock_server.errors import ConfigError
from interlock_server.metrics import Metrics
from interlock_server.monitor import Monitor, Versions, in_force
from interlock_server.screening import Request, Screening

NOW = datetime.now(UTC)
VERSIONS = Versions("sha256:bundle", "sha256:policy", "sha256:certificate")
MEMBERS = ["alpha", "beta", "gamma"]


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def profiles(**dials: float) -> dict[str, Any]:
    """Each releases what is below its dial."""
    content = policy_content(MEMBERS)["profiles"]["balanced"]
    return {
        name: {"categories": {key: {**rule, "release_below": dial} for key, rule in content["categories"].items()}}
        for name, dial in dials.items()
    }


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """With a stricter profile, and one that is stricter yet."""
    path = tmp_path_factory.mktemp("bundle")
    write_bundle(path, profiles=profiles(balanced=2.0, cautious=1.5, strict=1.0, paranoid=0.5))
    return load_bundle(path).policy


def baseline(minutes: float = -10, **changes: Any) -> BaselineFile:
    """Attested so long ago: scores of one tenth, all of them."""
    quantiles = QuantilesFile(thresholds=[0.05, 0.15], shares=[0.0, 1.0], items=20_000)
    given = {
        "attested_by": "ann",
        "attested_at": at(minutes),
        "since": at(-100),
        "until": at(-50),
        "bundle": VERSIONS.bundle,
        "policy": VERSIONS.policy,
        "caller_share_max": 1.0,
        "callers": 9,
        "withheld_share": 0.01,
        "statistics": {f"member:{name}": quantiles for name in MEMBERS[:2]},
    }
    return BaselineFile(**{**given, **changes})


def cleared(minutes: float = -5) -> StateFile:
    return StateFile(cleared=Clearing(by="ann", at=at(minutes)))


def latch(minutes: float = -2, **changes: Any) -> Latch:
    return Latch(**{"at": at(minutes), "why": "a test", **changes})


class Monitored:
    """A monitor over files in a folder."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.baseline, self.state, self.refutation = (
            folder / name for name in ("baseline.json", "state.json", "refutation.json")
        )
        self.policy = policy
        self.metrics = Metrics()
        write(self.baseline, baseline())
        write(self.state, cleared())

    def settings(self, **changes: Any) -> DriftSettings:
        paths = {"baseline": str(self.baseline), "state": str(self.state), "refutation": str(self.refutation)}
        return DriftSettings(**{**paths, "reread_s": 0.05, **changes})

    def start(self, **changes: Any) -> Monitor:
        return Monitor(self.settings(**changes), self.policy, VERSIONS, self.metrics)

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"interlock_{name}")


@pytest.fixture
def monitored(tmp_path: Path, policy: Policy) -> Monitored:
    return Monitored(tmp_path, policy)


def screened(score: float, **changes: Any) -> Screening:
    """One of three members says so, with no margin."""
    found = evidence(score, score, said("gamma", score), **changes)
    return Screening(Verdict(), found, (), b"", "", 0.0)


def feed(
    monitor: Monitor, conversations: int, score: Callable[[random.Random], float], prompt: str = "prompt %d"
) -> None:
    chance = random.Random(1)
    for number in range(conversations):
        monitor.observe(Request((prompt % number).encode(), b"completion", caller="c"), screened(score(chance)))


def ordinary(chance: random.Random) -> float:
    return 0.1


def drifted(chance: random.Random) -> float:
    return 0.9 if chance.random() < 0.3 else 0.1


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 -- files tell nobody
            await asyncio.sleep(0.01)


def test_ordinary_traffic_leaves_it_open(monitored: Monitored):
    """And is counted."""
    monitor = monitored.start()
    feed(monitor, 4_000, ordinary)

    assert monitor.latched is None
    assert (1.0, 0.0) == (monitored.gauge("drift_armed"), monitored.gauge("conservative_mode"))
    assert 4_000 == monitored.metrics.registry.get_sample_value("interlock_drift_items_total", {"result": "counted"})


def test_drift_latches_and_says_why(monitored: Monitored):
    """Within 2,000 conversations of which three in ten are new."""
    monitor = monitored.start()
    feed(monitor, 2_000, drifted)

    assert monitor.latched is not None
    assert monitor.latched.statistic in ("member:alpha", "member:beta")
    assert 0.1 < monitor.latched.lower_bound < 0.3
    assert baseline().digest == monitor.latched.baseline
    assert 1.0 == monitored.gauge("conservative_mode")


async def test_a_latch_survives_a_restart(monitored: Monitored):
    """It is on disk soon after, and whoever starts from there is latched."""
    monitor = monitored.start()
    running = asyncio.create_task(monitor.run())
    feed(monitor, 2_000, drifted)
    await until(lambda: read_state(monitored.state).latched is not None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert monitor.latched == monitored.start().latched


async def test_a_latch_is_written_when_the_server_ends_before_it_was(monitored: Monitored):
    """A drain loses nothing."""
    monitor = monitored.start()
    running = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    feed(monitor, 2_000, drifted)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert read_state(monitored.state).latched == monitor.latched


async def test_a_running_server_takes_note_of_a_clearing(monitored: Monitored):
    """And begins to compare anew: what was before is forgotten."""
    monitor = monitored.start()
    feed(monitor, 2_000, lambda chance: 0.9)
    assert monitor.latched is not None
    running = asyncio.create_task(monitor.run())
    await until(lambda: read_state(monitored.state).latched is not None)
    write(monitored.state, cleared(1_000))
    await until(lambda: monitor.latched is None)
    feed(monitor, 2_000, ordinary, "new prompt %d")
    assert monitor.latched is None
    feed(monitor, 2_000, drifted, "other prompt %d")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert monitor.latched is not None


async def test_a_running_server_takes_note_of_a_latch_of_another(monitored: Monitored):
    """Replicas that share the state are conservative together."""
    monitor = monitored.start()
    running = asyncio.create_task(monitor.run())
    write(monitored.state, StateFile(latched=latch()))
    await until(lambda: monitor.latched is not None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert latch() == monitor.latched


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 1}', '{"format": 9, "cleared": {}}', "\x00\xff", "[]"])
def test_a_state_that_cannot_be_read_is_a_latch(monitored: Monitored, content: str | None):
    """Also one that is not there: a lost disk is no attestation. It stays one when the file comes back as it was."""
    monitored.state.unlink()
    if content is not None:
        monitored.state.write_text(content)

    assert monitored.start().latched is not None
    write(monitored.state, cleared(-1))
    assert monitored.start().latched is None


@pytest.mark.parametrize(
    ("remembered", "stored", "attested", "holds"),
    [
        (None, cleared(), baseline(), False),
        (None, StateFile(latched=latch()), baseline(), True),
        (None, StateFile(latched=latch()), None, True),
        (None, StateFile(latched=latch()), baseline(1), False),
        (None, StateFile(latched=latch(baseline=baseline(1).digest)), baseline(1), True),
        (latch(), cleared(-3), baseline(), True),
        (latch(), cleared(-1), baseline(), False),
        (latch(), cleared(-3), baseline(1), False),
        (None, None, baseline(), True),
        (latch(), None, baseline(1), False),
    ],
)
def test_what_is_later_holds(
    remembered: Latch | None, stored: StateFile | None, attested: BaselineFile | None, holds: bool
):
    """A latch ends by a clearing after it, or another baseline that was attested after it."""
    assert holds is (in_force(remembered, stored, attested).latched is not None)


def test_another_baseline_that_is_attested_later_clears(monitored: Monitored):
    """For the next start too."""
    write(monitored.state, StateFile(latched=latch()))
    write(monitored.baseline, baseline(1))

    assert monitored.start().latched is None
    assert "ann" == read_state(monitored.state).cleared.by  # type: ignore[union-attr]


@pytest.mark.parametrize("change", [{"bundle": "sha256:other"}, {"policy": "sha256:other"}])
def test_a_baseline_of_other_models_or_thresholds_does_nothing(monitored: Monitored, change: dict[str, str]):
    """It neither arms nor clears."""
    write(monitored.state, StateFile(latched=latch()))
    write(monitored.baseline, baseline(1, **change))

    assert monitored.start().latched is not None
    assert 0 == monitored.gauge("drift_armed")


def test_a_state_that_cannot_be_written_is_a_latch_all_the_same(monitored: Monitored, tmp_path: Path):
    """And a clearing that cannot be written is none."""
    monitor = monitored.start(state=str(tmp_path / "gone" / "state.json"))

    assert monitor.latched is not None
    (tmp_path / "file").write_text("")
    write(monitored.baseline, baseline(1))
    assert monitored.start(state=str(tmp_path / "file" / "state.json")).latched is not None


def test_without_a_baseline_nothing_is_compared_and_a_latch_holds(monitored: Monitored):
    """Taking the baseline out of the configuration is no attestation."""
    write(monitored.state, StateFile(latched=latch()))
    monitor = monitored.start(baseline=None)

    assert monitor.latched is not None
    assert 0 == monitored.gauge("drift_armed")


@pytest.mark.parametrize(
    ("asked", "applied"),
    [
        ("", "strict"),
        ("balanced", "strict"),
        ("cautious", "strict"),
        ("strict", "strict"),
        ("paranoid", "paranoid"),
        ("unheard-of", "unheard-of"),
    ],
)
def test_a_latch_tightens_what_is_asked(monitored: Monitored, asked: str, applied: str):
    """Never loosens it; and what is asked beside the profile stays."""
    write(monitored.state, StateFile(latched=latch()))
    tightened = monitored.start().tightened(Request(b"", b"", profile=asked, extra_margin=0.5))

    assert (applied, 0.5) == (tightened.profile, tightened.extra_margin)


def test_what_is_not_latched_leaves_requests_alone(monitored: Monitored):
    """The same object."""
    request = Request(b"", b"")

    assert monitored.start().tightened(request) is request


def test_to_withhold_is_another_action(monitored: Monitored):
    """The profile stays; everything is withheld."""
    write(monitored.state, StateFile(latched=latch()))
    monitor = monitored.start(action="withhold", profile="unheard-of")

    assert monitor.conservative
    assert "" == monitor.tightened(Request(b"", b"")).profile
    assert not monitored.start().conservative


def test_a_monitor_that_fails_latches(monitored: Monitored):
    """It could not tell drift any more."""
    monitor = monitored.start()
    monitor.observe(Request(1, b"", caller="c"), screened(0.1))  # type: ignore[arg-type]

    assert monitor.latched is not None
    assert "the monitor failed" == monitor.latched.why


def test_a_conversation_counts_once(monitored: Monitored):
    """Candidates and new attempts have one prompt; what has no prompt is told apart by the completion."""
    monitor = monitored.start()
    for prompt, completion, caller in (
        (b"p", b"a", "c"),
        (b"p", b"b", "c"),
        (b"", b"a", "c"),
        (b"", b"a", "c"),
        (b"", b"b", "c"),
        (b"p", b"a", "d"),
    ):
        monitor.observe(Request(prompt, completion, caller=caller), screened(0.1))
    counted, repeated = (
        monitored.metrics.registry.get_sample_value("interlock_drift_items_total", {"result": result})
        for result in ("counted", "repeated")
    )

    assert (4, 2) == (counted, repeated)


@pytest.mark.parametrize(("profile", "latches"), [("", True), ("balanced", True), ("cautious", False)])
def test_margins_are_those_of_the_usual_profile(monitored: Monitored, profile: str, latches: bool):
    """Others are other numbers, whatever the text."""
    usual = QuantilesFile(thresholds=[2.0, 3.0], shares=[0.0, 1.0], items=20_000)
    write(monitored.baseline, baseline(statistics={"margin": usual}))
    monitor = monitored.start()
    for number in range(2_000):
        seen = replace(screened(0.1, profile=profile), verdict=Verdict(margin=1.0))
        monitor.observe(Request(b"%d" % number, b"", caller="c"), seen)

    assert latches is (monitor.latched is not None)


class Overtaken(Monitor):
    """Latches while it reads its files."""

    def _settle(self) -> Any:
        found = super()._settle()
        if self._news.is_set():
            self.latched = latch()
        return found


async def test_a_latch_that_comes_while_the_files_are_read_holds(monitored: Monitored):
    """What they said was before it."""
    monitor = Overtaken(monitored.settings(reread_s=60.0), monitored.policy, VERSIONS, monitored.metrics)
    monitor._news.set()
    await monitor._round()

    assert latch() == monitor.latched


def test_a_file_is_on_disk_before_it_takes_the_place_of_another(tmp_path: Path):
    """And then its name is."""
    path, seen = tmp_path / "state.json", []
    write(path, cleared(-9))
    write(
        path,
        cleared(-1),
        lambda handle: seen.append((Path(f"/proc/self/fd/{handle}").resolve().is_dir(), path.read_text())),
    )

    assert [False, True] == [is_folder for is_folder, _ in seen]
    assert seen[0][1] != seen[1][1] == path.read_text()


def refutation(*refuted: str, certificate: str = VERSIONS.certificate) -> RefutationFile:
    one = CategoryEvidence(bound=0.1, harmful=20, misses=9, log_e_value=7.0)
    return RefutationFile(at=NOW, certificate=certificate, delta=0.05, refuted=list(refuted), categories={"harm": one})


@pytest.mark.parametrize(
    ("content", "refuted"),
    [
        (None, False),
        (refutation(), False),
        (refutation("harm"), True),
        (refutation("harm", certificate="sha256:older"), False),
    ],
)
def test_a_certificate_is_refuted_by_what_was_found_of_it(
    monitored: Monitored, content: RefutationFile | None, refuted: bool
):
    """And by nothing that was found of another."""
    if content is not None:
        write(monitored.refutation, content)

    assert refuted is monitored.start().refuted
    assert refuted == monitored.gauge("certificate_refuted")


def test_a_refutation_that_cannot_be_read_is_one(monitored: Monitored):
    """Nobody can tell what it said."""
    monitored.refutation.write_text("{")

    assert monitored.start().refuted


def crossing() -> dict[str, Any]:
    """Stricter in one category, looser in another."""
    found = profiles(balanced=2.0, strict=1.0)
    found["strict"]["categories"]["illicit"]["release_below"] = 3.0
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (profiles(balanced=2.0), "no profile 'strict'"),
        (crossing(), "might release"),
        (profiles(balanced=1.0, strict=1.0), "no stricter"),
    ],
)
def test_a_policy_that_cannot_be_tightened_is_refused(
    tmp_path: Path, monitored: Monitored, content: dict[str, Any], message: str
):
    """At the start, not when it is needed."""
    write_bundle(tmp_path / "bundle", profiles=content)
    monitored.policy = load_bundle(tmp_path / "bundle").policy

    with pytest.raises(ConfigError, match=message):
        monitored.start()


def test_the_policy_that_ships_can_be_tightened(monitored: Monitored):
    """Its strict profile is as strict as all others."""
    monitored.policy = load_bundle(DEFAULT_BUNDLE).policy

    assert monitored.start().latched is None


def test_a_baseline_that_cannot_be_read_is_refused_at_the_start(monitored: Monitored):
    """Else a server would be unarmed without anybody's wish."""
    monitored.baseline.write_text("{}")

    with pytest.raises(ConfigError, match=r"baseline\.json"):
        monitored.start()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "a.json"}, "state"),
        ({"state": "a.yaml"}, "pattern"),
        ({"limit": 0.0}, "greater"),
        ({"action": "nothing"}, "profile"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str):
    """With the field."""
    with pytest.raises(ValueError, match=message):
        DriftSettings(**settings)


def test_a_baseline_is_the_same_after_it_was_written(monitored: Monitored):
    """Its digest says which attestation a latch was about."""
    found = read_baseline(monitored.baseline)

    assert (baseline().digest, baseline().values) == (found.digest, found.values)
    assert Quantiles((0.05, 0.15), (0.0, 1.0), 20_000) == found.values.statistics["member:alpha"]


def test_the_default_configuration_compares_nothing():
    """Until an operator says what is ordinary."""
    assert (None, None, None) == tuple(getattr(DriftSettings(), name) for name in ("baseline", "state", "refutation"))
    assert yaml.safe_load(DriftSettings().model_dump_json())["action"] == "profile"
