import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from audit.samples import verdict, verdict_id, write_log
from interlock_lab.replay.command import exit_code
from interlock_lab.replay.figures import figures
from interlock_lab.replay.inputs import Options, task
from interlock_lab.replay.tally import At, Unjudged
from interlock_server.audit.framing import log_path, sealed_path
from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from interlock_server.errors import ConfigError
from msgspec.structs import replace as changed

from .samples import LOG, recorded, run, small_bundle, tally_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A copy of the log of the default bundle, to be damaged."""
    return Path(shutil.copytree(LOG, tmp_path / "log"))


def test_another_profile_prints_what_flips_by_category_and_reason(tmp_path):
    """New releases first."""
    ran = run(tmp_path, LOG, "--policy", "cautious")
    released, withheld = (ran.report["verdicts"][name] for name in ("to_release_by_cause", "to_withhold_by_cause"))

    assert 0 == ran.code
    assert 0 < ran.report["to_release"]["count"] < ran.report["to_withhold"]["count"]
    for row in (released[0], withheld[0]):
        assert re.search(rf"{row['category']}\s+{row['reason']}\s+{row['count']}\s+{row['of']} ", ran.output)
    assert ran.output.index("withheld before, released now:") < ran.output.index("released before, withheld now:")


def test_the_same_policy_changes_nothing(tmp_path):
    """Every verdict of the log comes again, exactly."""
    ran = run(tmp_path, LOG)
    judged = ran.report["verdicts"]["judged"] + ran.report["stream_parts"]["judged"]

    assert (0, judged, 0) == (ran.code, ran.report["irreproducible"]["of"], ran.report["irreproducible"]["count"])
    assert (0, 0) == (ran.report["to_release"]["count"], ran.report["to_withhold"]["count"])


def test_a_policy_file_decides_by_its_own_profiles(tmp_path):
    """Records with a profile that it lacks are counted, and with --strict they fail."""
    policy = yaml.safe_load((DEFAULT_BUNDLE / "policy.yaml").read_text())
    del policy["profiles"]["strict"]
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(policy))
    ran = run(tmp_path, LOG, "--policy", tmp_path / "new.yaml")
    strict = run(tmp_path, LOG, "--policy", tmp_path / "new.yaml", "--strict")

    assert (0, 3) == (ran.code, strict.code)
    assert {"strict"} == {one["detail"] for one in ran.report["unjudged"]["PROFILE_UNKNOWN"]["first"]}
    assert {"", "cautious"} == set(ran.report["verdicts"]["profiles"])


def test_new_releases_gate_a_rollout(tmp_path):
    """As many as are allowed, and one more."""
    count = run(tmp_path, LOG, "--policy", "cautious").report["to_release"]["count"]
    codes = [run(tmp_path, LOG, "--policy", "cautious", "--max-new-releases", most).code for most in (count, count - 1)]

    assert [0, 2] == codes


def test_a_gate_does_not_pass_when_nothing_was_compared(tmp_path):
    """At that time there was nothing."""
    nothing = LOG, "--until", "2001-01-01"
    codes = [run(tmp_path, *nothing, *gate).code for gate in ([], ["--max-new-releases", 9])]

    assert [0, 3] == codes


@pytest.mark.parametrize(
    ("cause", "code"),
    [("TEXT_NOT_KEPT", 3), ("NOT_ANSWERED", 3), ("DETAIL_NOT_GRANTED", 3), ("NOT_OF_THE_TEXT", 0)],
)
def test_a_gate_does_not_pass_when_a_text_or_an_answer_is_missing(cause, code):
    """What cannot be asked again by its nature does not stop it."""
    tally = tally_of(verdict(1))
    tally.skip(At(0, 1, 3), Unjudged(cause))
    report = figures(tally, ["log"])

    assert [0, code] == [exit_code(report, most, strict=False) for most in (None, 0)]


def test_a_changed_record_is_named_and_the_rest_counts(tmp_path, log):
    """In lines, where one byte is one record."""
    path = log_path(log, 3)
    content = path.read_bytes()
    place = content.index(b'"RELEASE"')
    path.write_bytes(content[:place] + b'"rELEASE"' + content[place + 9 :])
    line = content[:place].count(b"\n") + 1
    ran = run(tmp_path, log)

    assert 3 == ran.code
    assert f"segment 3, line {line}: does not fit the chain" in ran.output
    assert 1 == ran.report["damage"]["count"]


def test_a_changed_sealed_segment_is_named(tmp_path, log):
    """In Parquet, where a page has one checksum."""
    path = sealed_path(log, 2)
    content = bytearray(path.read_bytes())
    content[2_000] ^= 1
    path.write_bytes(content)
    ran = run(tmp_path, log)

    assert 3 == ran.code
    assert "segment 2" in ran.output
    assert 0 < ran.report["irreproducible"]["of"]


def test_a_segment_that_is_not_there_is_named(tmp_path, log):
    """Unless it was the first: retention deletes those."""
    sealed_path(log, 1).unlink()
    retired = run(tmp_path, log)
    log_path(log, 3).rename(log_path(log, 5))
    ran = run(tmp_path, log)

    assert (0, 3) == (retired.code, ran.code)
    assert [(3, "is not there"), (4, "is not there")] == [
        (one["segment"], one["what"]) for one in ran.report["damage"]["first"] if not one["line"]
    ]


def test_records_of_another_bundle_are_refused_by_both_digests(tmp_path):
    """Unless they are asked for."""
    bundle = small_bundle(tmp_path)
    refused = run(tmp_path, LOG, "--bundle", bundle)

    assert 1 == refused.code
    assert DEFAULT_BUNDLE_DIGEST in refused.output
    assert load_bundle(bundle).digest in refused.output
    assert 0 == refused.report["verdicts"]["judged"]
    assert 0 == run(tmp_path, LOG, "--bundle", bundle, "--any-bundle", "--profile", "balanced").code


def test_a_verdict_that_does_not_come_again_is_our_fault(tmp_path):
    """That is graver than everything else, and is listed with what is different."""
    bundle = small_bundle(tmp_path)
    was = recorded(bundle, 1)
    write_log(tmp_path / "log", [recorded(bundle, 2), changed(was, decided=changed(was.decided, margin=9.0))])
    ran = run(tmp_path, tmp_path / "log", "--bundle", bundle)

    assert 4 == ran.code
    assert f"segment 1, line 3 {verdict_id(1)}: margin" in ran.output


def test_the_page_needs_nothing_else_and_says_the_same(tmp_path):
    """A chart, the flips, and no address of anything."""
    ran = run(tmp_path, LOG, "--policy", "cautious", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    first = ran.report["to_release"]["first"][0]

    assert "<svg" in page
    assert "://" not in page
    assert first["verdict_id"] in page
    assert f"{first['before']['margin']:+.3f}" in page


def test_the_figures_are_the_same_whoever_decides_and_however_often(tmp_path):
    """To the byte, with one process and with two."""
    texts = []
    for workers in (1, 2):
        run(tmp_path, LOG, "--policy", "cautious", "--workers", workers)
        texts.append((tmp_path / "figures.json").read_bytes())

    assert texts[0] == texts[1]


def test_only_a_time_is_replayed(tmp_path):
    """From one moment until before another."""
    ran = run(tmp_path, LOG, "--since", "2023-11-14T23:30:00", "--until", "2023-11-14T23:45:00+00:00")

    assert 15 == ran.report["verdicts"]["judged"]


def test_sealed_segments_of_other_times_are_not_even_read():
    """Those whose times are known; the open one is."""
    later = task(Options((LOG,), since="2023-12-24"))
    earlier = task(Options((LOG,), until="2023-10-03"))

    assert [[3], [3]] == [[job.unit.segment for job in asked.jobs] for asked in (later, earlier)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "unheard_of"], "--policy: is neither a file nor one of balanced, cautious, permissive, strict"),
        (["--profile", "unheard_of"], "--profile: the policy has balanced, cautious, permissive, strict"),
        (["--category", "weather"], "--category: the bundle has"),
        (["--since", "yesterday"], "--since: must be a time"),
        (["--target", "a:1", "--shadow", "next"], "give one of --target, --shadow"),
        (["--target", "a:1", "--speed", "0"], "--speed: must be a number above 0, or max"),
        (["--target", "a:1", "--policy", "cautious"], "--policy: a server has its own"),
        (["--shadow", "next", "--policy", "cautious"], "--policy: a shadow policy decided at the time"),
        (["--html", "nowhere/page.html"], "--html: there is no folder nowhere"),
        (["--engine", "spark"], "--engine: must be local or ray"),
        (["--engine", "ray", "--target", "a:1"], "--engine ray: models and servers"),
        (["--private-key", str(DEFAULT_BUNDLE / "policy.yaml")], "must hold 32 bytes in hex"),
        ([str(LOG / ".." / "log")], "LOG: one is named twice"),
    ],
)
def test_wrong_options_are_named(tmp_path, arguments, message):
    """Before anything is read."""
    ran = run(tmp_path, LOG, *arguments)

    assert isinstance(ran.error, ConfigError)
    assert message in str(ran.error)


def test_times_have_zones():
    """UTC, where none is given."""
    moments = ["2023-11-14", "2023-11-14T01:00:00+01:00", "2023-11-14T00:00:00Z"]
    found = {task(Options((LOG,), since=moment)).plan.wanted.since_ns for moment in moments}

    assert {int(datetime(2023, 11, 14, tzinfo=UTC).timestamp()) * 10**9} == found
