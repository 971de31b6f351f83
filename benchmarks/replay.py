"""How many recorded verdicts a core decides again in a second.

    .venv/bin/python benchmarks/replay.py      writes benchmarks/results/replay.json

A log of 100,000 records as the server writes them, under the default bundle's policy: open (lines) and sealed (Parquet). The
time is that of reading, checking the chain, deciding, comparing and counting, on one core, best of three; starting is not in it.
The same policy must give the same verdicts, all of them.
"""

import json
import os
import platform
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from audit.samples import BEGUN_NS, SECOND_NS, write_log
from interlock_lab.replay.engines import local
from interlock_lab.replay.redecide import Job, Plan
from interlock_lab.replay.tally import Tally
from interlock_server import __version__
from interlock_server.audit.reader import units
from interlock_server.audit.record import Digests, MemberTrace, TextTrace, VerdictRecord, decided
from interlock_server.audit.seal import seal
from interlock_server.bundle.load import Bundle, load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.decision.decide import decide
from interlock_server.decision.evidence import Evidence, MemberEvidence

REPEATED = 6
RECORDS, KINDS, ROUNDS = 100_000, 2_000, 3
WITHHELD_SHARE = 0.1


def main() -> None:
    """Writes the log, decides it again in every way, and keeps the figures."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    same = Plan(bundle.policy, bundle.digest)
    plans = {"the same policy": same, "profile cautious": Plan(bundle.policy, bundle.digest, profile="cautious")}
    figures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder)
        write_log(log, list(records(bundle)), [])
        size = sum(path.stat().st_size for path in log.glob("*.log"))
        for kind in ("open", "sealed"):
            if kind == "sealed":
                assert list(seal(log)) == [1]
            for name, plan in plans.items():
                figures[f"{kind}, {name}"] = measured(log, plan, must_agree=plan is same)
        wall = {str(workers): on_all_cores(log, same, workers) for workers in (1, os.cpu_count() or 1)}
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "records": RECORDS,
        "bytes_per_record": round(size / RECORDS),
        "records_per_second_and_core": figures,
        "records_per_second_by_workers": wall,
    }
    path = Path(__file__).parent / "results" / "replay.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


def measured(log: Path, plan: Plan, must_agree: bool) -> int:
    """Records per second, the best of some rounds."""
    jobs = [(number, Job(0, unit)) for number, unit in enumerate(units(log))]
    best_s = float("inf")
    for _ in range(ROUNDS):
        tally = Tally()
        begun_s = time.process_time()
        for _, part in local(jobs, plan, workers=1):
            tally.merge(part)
        best_s = min(best_s, time.process_time() - begun_s)
        assert (tally.records, tally.damage.count, tally.irreproducible.count) == (RECORDS, 0, 0)
        assert not must_agree or (tally.checked, tally.flipped.count) == (RECORDS, 0)
    return round(RECORDS / best_s)


def on_all_cores(log: Path, plan: Plan, workers: int) -> int:
    """Records per second of wall clock, the starting of processes included, over the sealed log read several times."""
    found = units(log) * REPEATED
    begun_s = time.perf_counter()
    tally = Tally()
    for _, part in local([(number, Job(0, unit)) for number, unit in enumerate(found)], plan, workers=workers):
        tally.merge(part)
    return round(tally.records / (time.perf_counter() - begun_s))


def records(bundle: Bundle) -> Iterator[VerdictRecord]:
    """As many as are needed, of fewer kinds of evidence."""
    kinds = [evidence(random.Random(kind), bundle) for kind in range(KINDS)]
    verdicts = [decided(decide(item, bundle.policy)) for item in kinds]
    digests = Digests(bundle=bundle.digest, policy=bundle.policy.digest, build=__version__)
    traces = tuple(trace(member.member, bundle) for member in kinds[0].members)
    text = TextTrace(prompt_bytes=80, completion_bytes=400, prompt_hash=64 * "a", completion_hash=64 * "b")
    for number in range(RECORDS):
        yield VerdictRecord(
            verdict_id=str(uuid.UUID(int=number)),
            time_unix_ns=BEGUN_NS + number * SECOND_NS,
            rpc="Screen",
            caller="chat",
            request_id=f"request-{number}",
            evidence=kinds[number % KINDS],
            decided=verdicts[number % KINDS],
            digests=digests,
            text=text,
            members=traces,
            total_s=0.0123,
        )


def evidence(random_: random.Random, bundle: Bundle) -> Evidence:
    """Mostly scores that everybody finds low, and some that nobody does."""
    highest = 1.0 if random_.random() < WITHHELD_SHARE else 0.02
    members = (
        MemberEvidence(
            name, {category: random_.random() * highest for category in bundle.manifest.categories}, None, True
        )
        for name in bundle.policy.members
    )
    return Evidence(tuple(members))


def trace(member: str, bundle: Bundle) -> MemberTrace:
    """What a member read."""
    return MemberTrace(
        member=member,
        coverage=((0, 400),),
        prompt_coverage=((0, 80),),
        worst_windows=dict.fromkeys(bundle.manifest.categories, (0, 200)),
        windows=4,
        queue_s=0.0011,
        read_s=0.0022,
        infer_s=0.0033,
    )


if __name__ == "__main__":
    main()
