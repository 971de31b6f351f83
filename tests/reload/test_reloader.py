"""The reloader: what is shared, what is closed when, and that whatever is wrong leaves in force what is."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes import certificate_content, reseal
from interlock_server.bundle.load import load_bundle
from interlock_server.config import Config
from interlock_server.drift_files import Clearing, Latch, StateFile, write
from interlock_server.errors import ConfigError
from interlock_server.operating import Outcome
from interlock_server.screening import Request

from .conftest import Start
from .samples import DOUBTFUL, LENIENT, STRICT, Files, Insides, policy

ASKED = Request(b"", DOUBTFUL.encode())


async def reloaded(insides: Insides) -> Outcome:
    """What became of a reload that has to be possible."""
    outcome = await insides.reloader.reload("test")
    assert outcome.successful, outcome.error
    return outcome


async def refused(insides: Insides) -> str:
    """Why one is refused, which changes nothing."""
    before = insides.reloader.current
    outcome = await insides.reloader.reload("test")
    assert not outcome.successful
    assert before is insides.reloader.current
    assert [outcome, 0] == [insides.reloader.status().last, insides.metric("interlock_config_last_reload_successful")]
    return outcome.error


async def test_another_policy_shares_the_models(start: Start, files: Files):
    """Nothing is loaded, no lane is made, and no kept evidence is lost; verdicts are those of the other policy."""
    insides = await start()
    before = insides.reloader.current
    assert await insides.released()
    files.write(STRICT)
    await reloaded(insides)

    assert not await insides.released()
    assert before.engine is insides.reloader.current.engine
    assert before.filter.cache is insides.reloader.current.filter.cache
    assert 1 == insides.metric("interlock_evidence_cache_total", result="hit")


async def test_a_policy_that_asks_fewer_members_gets_evidence_of_no_others(start: Start, files: Files):
    """Neither from the members nor from the cache."""
    insides = await start()
    await insides.screen()
    files.write(policy(2.0, ["alpha", "beta"]))
    await reloaded(insides)
    fewer = await insides.screen()
    files.write(LENIENT)
    await reloaded(insides)
    again = await insides.screen()

    assert ["alpha", "beta"] == [item.member for item in fewer.evidence.members]
    assert ["alpha", "beta", "gamma"] == [item.member for item in again.evidence.members]
    assert fewer.verdict.released
    assert again.verdict.released


async def test_a_policy_that_asks_more_members_loads_them(start: Start, files: Files):
    """Beside the ones that run."""
    files.write(policy(2.0, ["alpha", "beta"]))
    insides = await start()
    files.write(LENIENT)
    await reloaded(insides)

    assert 3 == len((await insides.screen()).evidence.members)
    assert await insides.released()


async def test_other_models_are_closed_when_the_last_call_on_them_has_ended(start: Start, files: Files):
    """And answer until then."""
    insides = await start()
    old, over = insides.reloader.current, asyncio.Event()

    async def call() -> bool:
        serving = insides.served[0].hold()
        await over.wait()
        return (await serving.filter.screen(ASKED)).verdict.released

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    files.seal("other", 0.99)
    await reloaded(insides)
    assert not await insides.released()
    assert 2 == insides.reloader.status().generations
    over.set()

    assert await calling
    await asyncio.gather(*insides.reloader._retiring)
    assert (1, 0) == (insides.reloader.status().generations, old.engine.users)


async def test_a_call_that_never_ends_is_cut_off(start: Start, files: Files):
    """It is withheld from then on, and holds up no other models."""
    files.sections["transport"] = {"connection_age_grace_s": 1.0}
    insides = await start()
    serving, over = insides.served[0], asyncio.Event()

    async def call() -> None:
        serving.hold()
        await over.wait()

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    for number in (1, 2):
        files.seal(f"other{number}", 0.15 + number / 100)
        await reloaded(insides)
    screening = await serving.filter.screen(ASKED)
    over.set()
    await calling

    assert not screening.verdict.released


async def test_those_who_ask_meanwhile_share_one_more_reload(start: Start, files: Files):
    """However many they are."""
    insides = await start()
    before = files.read_times
    outcomes = await asyncio.gather(*(insides.reloader.reload(f"{number}") for number in range(5)))
    first = files.read_times - before
    files.write(STRICT)
    asked = [insides.reloader.ask("first")]
    await asyncio.sleep(0)
    asked += [insides.reloader.ask("later") for _ in range(5)]
    outcomes += await asyncio.gather(*asked)

    assert all(outcome.successful for outcome in outcomes)
    assert [2, 6] == [first, files.read_times - before]
    assert not await insides.released()


async def test_files_that_change_while_they_are_read_are_refused(start: Start, files: Files):
    """Half of one might go with half of another."""
    insides = await start()
    read = files.read

    def read_then_changed() -> Config:
        config = read()
        files.write(policy(2.0 - files.read_times / 100))
        return config

    insides.reloader._read = read_then_changed

    assert "changed while they were read" in await refused(insides)


async def test_an_unexpected_error_is_told_by_its_type(start: Start):
    """Its message may quote what nobody should read."""
    insides = await start()

    def fail() -> Config:
        raise RuntimeError("the content of a file")

    insides.reloader._read = fail

    assert "RuntimeError" == await refused(insides)


async def test_models_that_do_not_reproduce_their_scores_are_refused(start: Start, files: Files):
    """They are loaded and checked beside the others before anything changes."""
    insides = await start()
    files.seal("other", 0.15)
    other = files.path / "other"
    golden = (other / "golden.jsonl").read_text().replace("0.01", "0.5")
    (other / "golden.jsonl").write_text(golden)
    files.bundle["digest"] = reseal(other)

    assert "golden exchange 1 is off" in await refused(insides)
    assert await insides.released()


@pytest.mark.parametrize(("days", "why"), [(0, ""), (-400, "LAPSED")])
async def test_a_required_certificate_must_hold(start: Start, files: Files, days: int, why: str):
    """Else the policy would withhold everything."""
    insides = await start()
    files.write(policy(1.0, certificate="require"))
    files.bundle["certificate"] = certificate(files, days)
    if why:
        assert why in await refused(insides)
    else:
        await reloaded(insides)
        assert (await insides.screen()).evidence.certificate == "VALID"


def certificate(files: Files, days: int) -> str:
    """Of the configured policy, issued so many days from today."""
    bundle = load_bundle(Path(files.bundle["path"]), None, Path(files.bundle["policy"]))
    issued = datetime.now(UTC).date() + timedelta(days=days)
    path = files.path / "certificate.json"
    path.write_text(json.dumps(certificate_content(bundle, issued=str(issued))))
    return str(path)


async def test_a_latch_outlives_the_policy(start: Start, files: Files):
    """Also one that is not on disk yet: what was conservative stays so, and the operator is told what is not compared."""
    state = files.path / "state.json"
    write(state, StateFile(cleared=Clearing(by="ann", at=datetime.now(UTC))))
    files.sections["drift"] = {"state": str(state), "action": "withhold"}
    insides = await start()
    monitor, writing = insides.reloader.current.monitor, insides.reloader.current._watching
    assert monitor is not None
    assert writing is not None
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    monitor._latch(Latch(at=datetime.now(UTC), why="test"))
    files.write(STRICT)
    outcome = await reloaded(insides)

    assert "CONSERVATIVE_MODE" in (await insides.screen()).verdict.reasons
    assert monitor is not insides.reloader.current.monitor
    assert any("not compared" in note for note in outcome.notes)


async def test_what_was_said_of_the_policy_before_is_taken_back(start: Start, files: Files):
    """Metrics tell of what is in force, and of nothing else."""
    insides = await start()
    files.write(policy(2.0, ["alpha", "beta"]))
    await reloaded(insides)
    metrics = insides.metrics.registry

    assert 1 == len([s for m in metrics.collect() for s in m.samples if s.name == "interlock_info"])
    assert metrics.get_sample_value("interlock_member_required", {"member": "gamma"}) is None
    assert 1 == metrics.get_sample_value("interlock_member_required", {"member": "alpha"})


async def test_the_end_gives_up_what_is_under_way(start: Start, files: Files):
    """Whoever waits for it is told, and what is in force stays."""
    insides = await start()
    files.write(STRICT)
    waiting = asyncio.create_task(insides.reloader.reload("test"))
    await asyncio.sleep(0)
    await insides.reloader.stop()

    assert (False, "the server goes away") == ((await waiting).successful, (await waiting).error)
    assert not (await insides.reloader.reload("test")).successful
    assert await insides.released()


async def test_a_canary_goes_on_counting_over_a_reload_of_something_else(start: Start, files: Files):
    """Of the same two policies; with another one it begins anew."""
    files.canary()
    insides = await start()
    await insides.screen()
    files.bundle["shadow_policies"] = {"other": files.write(policy(1.0), "other")}
    await reloaded(insides)
    await insides.screen()
    trial = insides.reloader.status().canary
    assert trial is not None
    assert 2 == trial.tally.verdicts
    files.write(policy(1.5))
    await reloaded(insides)

    trial = insides.reloader.status().canary
    assert trial is not None
    assert 0 == trial.tally.verdicts


async def test_a_promotion_needs_verdicts_unless_it_is_forced(start: Start, files: Files):
    """What is refused changes nothing, and is no failed reload."""
    files.canary(share=0.0, verdicts_min=2)
    insides = await start()
    await insides.screen(DOUBTFUL)
    too_early = await insides.reloader.promote(force=False)
    assert await insides.released()
    assert 1 == insides.metric("interlock_config_last_reload_successful")
    assert (await insides.reloader.promote(force=False)).successful

    assert "1 verdicts of 2" in too_early.error
    assert not await insides.released()
    assert not (await insides.reloader.promote(force=True)).successful


async def test_a_promotion_that_cannot_be_kept_is_refused(start: Start, files: Files):
    """Else a restart would put the looser policy back without a word."""
    files.canary(share=0.0)
    files.sections["reload"] = {"state": str(files.path / "nowhere" / "state.json")}
    insides = await start()

    assert "cannot be written" in (await insides.reloader.promote(force=True)).error
    assert await insides.released()


async def test_a_promotion_outlives_the_process_but_not_the_configuration(start: Start, files: Files):
    """Once the configuration has no such canary, the same policy would have to be tried again."""
    files.canary(share=0.0)
    files.sections["reload"] = {"state": str(files.path / "rollout.json")}
    assert (await (await start()).reloader.promote(force=True)).successful
    insides = await start()
    assert not await insides.released()
    assert "nothing has changed" in (await reloaded(insides)).notes
    trial = files.bundle.pop("canary")
    await reloaded(insides)
    assert await insides.released()
    files.bundle["canary"] = trial
    await reloaded(insides)

    assert await insides.released()
    assert insides.reloader.status().canary is not None


async def test_a_canary_whose_certificate_is_required_needs_it_to_be_promoted(start: Start, files: Files):
    """Even by force: it would withhold everything."""
    files.canary(policy(1.0, certificate="require"), share=0.0)
    insides = await start()

    assert "requires one, and it is" in (await insides.reloader.promote(force=True)).error


async def test_a_state_that_cannot_be_read_stops_the_start(files: Files):
    """It may say that a stricter policy is in force."""
    state = files.path / "rollout.json"
    state.write_text("{")
    files.sections["reload"] = {"state": str(state)}

    with pytest.raises(ConfigError, match=r"rollout\.json"):
        await Insides(files).reloader.start()


async def test_an_aborted_canary_is_gone(start: Start, files: Files):
    """Until it is another policy; and then there is nothing to abort or promote."""
    files.canary()
    insides = await start()
    assert not await insides.released()
    assert (await insides.reloader.abort()).successful

    assert await insides.released()
    assert "nothing has changed" in (await reloaded(insides)).notes
    assert "no policy is on trial" in (await insides.reloader.abort()).error
    files.write({**STRICT, "latency_budget_ms": 10_000}, "trial")
    await reloaded(insides)
    assert not await insides.released()


async def test_what_needs_a_restart_is_named(start: Start, files: Files):
    """Beside what was put in force; and what did not change is no new generation."""
    insides = await start()
    before = insides.reloader.current
    files.sections |= {
        "transport": {"address": "127.0.0.1:1"},
        "inference": {"lanes": 3},
        "audit": {"mode": "required"},
    }
    outcome = await reloaded(insides)

    assert {
        "transport.address", "inference.lanes", "inference.cache_entries_max", "audit.mode",
    } == set(outcome.restart_needed)  # fmt: skip
    assert ("nothing has changed",) == outcome.notes
    assert before is insides.reloader.current


async def test_another_bundle_is_named_by_its_verdicts(start: Start, files: Files):
    """From the first one on; one that is not what is pinned changes nothing."""
    insides = await start()
    before = await insides.screen(DOUBTFUL)
    files.seal("other", 0.99)
    await reloaded(insides)
    after = await insides.screen(DOUBTFUL)

    assert (True, False) == (before.verdict.released, after.verdict.released)
    assert files.bundle["digest"] == after.digests.bundle == insides.served[-1].ensemble.digests.bundle
    files.bundle["digest"] = before.digests.bundle
    assert "is pinned" in await refused(insides)
