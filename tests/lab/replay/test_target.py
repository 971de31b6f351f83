import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit.samples import SECOND_NS, verdict_id, write_log
from end_to_end.server import Server, free_port
from fakes import BENIGN, HARMFUL
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import AsyncSafetyFilter, Verdict
from interlock_lab.replay.tally import At
from interlock_lab.replay.target import Target, answered
from interlock_server.decision.evidence import Evidence
from interlock_server.decision.verdict import Reason

from .samples import KEEPS_ALL, SAME, part_of_stream, recorded, run, verdict


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over scripted members."""
    server = Server(tmp_path_factory.mktemp("target"))
    try:
        yield server.wait_ready()
    finally:
        server.stop()


def recorded_log(folder: Path, bundle: Path) -> Path:
    """Texts released before, one of which is harmful; a stream that was refused, a call with two contexts,
    and one that was not kept."""
    stream = part_of_stream(4, whole=True).stream
    records = [
        *(recorded(bundle, number) for number in (1, 2, 3)),
        recorded(bundle, 4, evidence=Evidence(alarms=(Reason.OVERLOADED,)), stream=stream),
        recorded(bundle, 5, evidence=Evidence(alarms=(Reason.INPUT_UNREADABLE,))),
        recorded(bundle, 6),
    ]
    completions = {1: BENIGN, 2: BENIGN, 3: HARMFUL, 4: BENIGN, 5: BENIGN}
    texts = {verdict_id(number): (b"", text.encode()) for number, text in completions.items()}
    write_log(folder / "log", records, texts=texts, keeper=KEEPS_ALL)
    return folder / "log"


def test_a_server_is_compared_with_what_was_recorded(tmp_path, server):
    """By decision and reasons; what says nothing of the text is no flip."""
    ran = run(tmp_path, recorded_log(tmp_path, server.bundle), "--target", server.target, "--speed", "max")
    unjudged = {cause: some["count"] for cause, some in ran.report["unjudged"].items()}

    assert 0 == ran.code
    assert [("RELEASE", "RELEASE", 2), ("RELEASE", "HARMFUL", 1)] == [
        (cell["from"], cell["to"], cell["count"]) for cell in ran.report["verdicts"]["matrix"]
    ]
    assert {"NOT_OF_THE_TEXT": 2, "TEXT_NOT_KEPT": 1} == unjudged
    assert 0 == ran.report["without_detail"]


def test_a_server_that_grants_reasons_is_compared_by_them(tmp_path):
    """Its margins and categories are not known, which is no difference; by category there is nothing to compare."""
    server = Server(tmp_path, transport={"detail_max": "reasons"})
    try:
        bundle, target = server.wait_ready().bundle, server.target
        records = [recorded(bundle, 1), recorded(bundle, 2, score=0.99)]
        texts = {verdict_id(1): (b"", BENIGN.encode()), verdict_id(2): (b"", HARMFUL.encode())}
        write_log(tmp_path / "log", records, texts=texts, keeper=KEEPS_ALL)
        ran = run(tmp_path, tmp_path / "log", "--target", target, "--speed", "max", "--max-new-releases", 0)
        category = next(iter(records[1].decided.categories))
        of_one = run(tmp_path, tmp_path / "log", "--target", target, "--speed", "max", "--category", category)
    finally:
        server.stop()

    assert (0, 2, 0) == (ran.code, ran.report["without_detail"], ran.report["verdicts"]["reasoned_anew"])
    assert 1 == ran.output.count("compared by decision and reasons only: 2;")
    assert 0 == ran.report["margins"]["after"]["unknown"]
    assert {"DETAIL_NOT_GRANTED": 1} == {cause: some["count"] for cause, some in of_one.report["unjudged"].items()}


def test_a_withheld_verdict_without_reasons_may_be_of_the_load():
    """So that it is compared with nothing."""
    found = answered(Verdict(reasons=(), local=False, proto=pb.Verdict()), "some-id").after

    assert ("DETAIL_NOT_GRANTED", "some-id") == (found.cause, found.verdict_id)


def test_who_does_not_answer_flips_nothing(tmp_path, server):
    """It is counted, and no gate passes."""
    log = recorded_log(tmp_path, server.bundle)
    ran = run(tmp_path, log, "--target", f"127.0.0.1:{free_port()}", "--speed", "max", "--max-new-releases", 9)

    assert 3 == ran.code
    assert 0 == ran.report["to_withhold"]["count"]
    assert ["UNREACHABLE"] * 3 == [one["detail"] for one in ran.report["unjudged"]["NOT_ANSWERED"]["first"]]


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (Verdict(reasons=("UNREACHABLE",)), "UNREACHABLE"),
        (Verdict(reasons=("OVERLOADED",), local=False, proto=pb.Verdict()), "OVERLOADED"),
        (Verdict(reasons=("UNKNOWN_99",), local=False, proto=pb.Verdict()), "NOT_UNDERSTOOD"),
        (Verdict(decision="RELEASE", reasons=(), local=True), ""),
    ],
)
def test_what_the_way_lost_is_no_verdict(said, detail):
    """Neither what the client made up, nor what a server says of its load."""
    found = answered(said, "some-id").after

    assert ("NOT_ANSWERED", "some-id", detail) == (found.cause, found.verdict_id, found.detail)


async def test_questions_come_at_the_recorded_pace(tmp_path):
    """Divided by the speed: 200 seconds at 2,000 times."""
    async with AsyncSafetyFilter(targets="127.0.0.1:1") as client:
        target = Target(client, SAME, [], speed=2_000.0)
        begun_s = asyncio.get_running_loop().time()
        for number in (0, 100, 200):
            await target.due(At(0, 1, number), verdict(1, time_unix_ns=verdict(1).time_unix_ns + number * SECOND_NS))

    assert 0.1 <= asyncio.get_running_loop().time() - begun_s
