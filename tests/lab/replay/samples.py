"""Logs to replay, and the command that does it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from audit.samples import DIGESTS, verdict
from decision.samples import SUSPECT, category_rule, evidence, member_rule, policy
from fakes import manifest_content, member, script, write_bundle
from interlock_lab.replay.command import replay
from interlock_lab.replay.redecide import Plan, tallied
from interlock_lab.replay.tally import Tally
from interlock_server.audit.reader import Place
from interlock_server.audit.record import Digests, Record, StreamTrace, VerdictRecord, decided
from interlock_server.audit.texts import TextKeeper
from interlock_server.bundle.load import load_bundle
from interlock_server.bundle.seal import seal
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence, MemberEvidence
from interlock_server.decision.policy import Policy
from typer import Typer
from typer.testing import CliRunner

KEEPS_ALL = TextKeeper(kept="full", shares={"RELEASE": 1.0})
LOG = Path(__file__).parents[2] / "data" / "log"
SAME = Plan(policy(digest=DIGESTS.policy), DIGESTS.bundle)
"""The policy and the bundle of audit.samples."""


LOOSER = policy(category_rule(release_below=5.0), digest="sha256:looser")
"""Releases what is SUSPECT."""
STRICTER = policy(
    category_rule(members=dict.fromkeys(("alpha", "beta"), member_rule(clear_below=-5.0))), digest="sha256:stricter"
)
"""To which nothing is clear that is SAFE."""


def suspect(number: int, **changes: Any) -> VerdictRecord:
    """A verdict withheld as UNCERTAIN."""
    return verdict(number, evidence=evidence(SUSPECT, SUSPECT), **changes)


def part_of_stream(number: int, whole: bool = False, **changes: Any) -> VerdictRecord:
    """A verdict on some of a growing completion, or on all of it."""
    return suspect(number, stream=StreamTrace(stream_id="s", start=0, end=9, whole=whole), **changes)


def tally_of(*records: Record, policy: Policy = SAME.policy, segment: int = 1, **plan: Any) -> Tally:
    """Of these records, as the reader gives them, from line 2 on."""
    found = [(Place(segment, line), record) for line, record in enumerate(records, 2)]
    return tallied(found, 0, replace(SAME, policy=policy, **plan))


class Ran(NamedTuple):
    """What a run of the command gave."""

    code: int
    output: str
    report: dict[str, Any]
    error: BaseException | None


def run(folder: Path, *arguments: object) -> Ran:
    """`interlock replay`, with its figures from the JSON that it writes into the folder."""
    app, out = Typer(), folder / "figures.json"
    app.command()(replay)
    out.unlink(missing_ok=True)
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", str(out)], env={"COLUMNS": "160"})
    report = json.loads(out.read_text()) if out.exists() else {}
    return Ran(result.exit_code, result.output, report, result.exception)


def small_bundle(folder: Path, **scripts: Any) -> Path:
    """A bundle of scripted members; `scripts` are those that differ, by member."""
    path = folder / "bundle"
    write_bundle(path)
    for name, changes in scripts.items():
        script(path, name, **changes)
    members = [member(name) for name in ("alpha", "beta", "gamma")]
    seal(path, manifest_content(members))
    return path


def recorded(path: Path, number: int, score: float = 0.01, **changes: Any) -> VerdictRecord:
    """A verdict by a bundle's own policy, on evidence of one score."""
    bundle = load_bundle(path)
    scores = dict.fromkeys(bundle.manifest.categories, score)
    members = tuple(MemberEvidence(name, scores, None, True) for name in bundle.policy.members)
    given = changes.pop("evidence", None) or Evidence(members)
    digests = Digests(bundle=bundle.digest, policy=bundle.policy.digest, build="test")
    return verdict(number, evidence=given, digests=digests, decided=decided(decide(given, bundle.policy)), **changes)
